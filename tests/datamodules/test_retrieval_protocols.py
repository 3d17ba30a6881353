"""Retrieval among the test parts of 3D skeletons, against the loops of what was published."""

import numpy as np
import pandas as pd
import pytest

from gaitbench.datamodules import DATASETS
from gaitbench.datamodules.spatial import SpatialDataModule, retrieval
from gaitbench.protocols import Protocol, evaluate

PROTOCOLS = {
    name: protocol
    for data in DATASETS
    if issubclass(data, SpatialDataModule)
    for name, protocol in data.protocols.items()
}
PARTS = {  # protocol -> probe, gallery
    "biwi.walking": ("walking", "still"),
    "biwi.still": ("still", "walking"),
    "ias_lab.a": ("A", "B"),
    "ias_lab.b": ("B", "A"),
    "kgbd.probe": ("probe", "gallery"),
}


def windows(parts: tuple[str, ...], people: int = 5) -> tuple[np.ndarray, pd.DataFrame]:
    """Some windows of each person in each part."""
    rng = np.random.default_rng(1)
    rows = [
        (f"{person:03d}", part, 1, 0, recording, 6 * i)
        for recording, (part, person) in enumerate((p, s) for p in parts for s in range(people))
        for i in range(rng.integers(2, 6))
    ]
    columns = ["subject", "condition", "number", "view", "recording", "first_frame"]
    table = pd.DataFrame(rows, columns=columns)
    centre = rng.normal(size=(people, 7))[table["subject"].astype(int)]
    size = rng.uniform(0.5, 2, (len(table), 1))  # lengths tell, too
    return (size * (centre + rng.normal(size=centre.shape))).astype(np.float32), table


def published(
    points: np.ndarray, table: pd.DataFrame, probe: str, gallery: str
) -> dict[str, float]:
    """Top-k and mean average precision over all probes, one probe at a time."""
    condition, subject = table["condition"].to_numpy(), table["subject"].to_numpy()
    items = np.flatnonzero(condition == gallery)
    figures: dict[str, list[float]] = {"rank1": [], "rank5": [], "rank10": [], "map": []}
    for row in np.flatnonzero(condition == probe):
        distance = np.sqrt(((points[items].astype(float) - points[row]) ** 2).sum(1))
        right = subject[items[np.argsort(distance)]] == subject[row]
        for k in (1, 5, 10):
            figures[f"rank{k}"].append(float(right[:k].any()))
        hits = np.flatnonzero(right)
        figures["map"].append(float(np.mean((np.arange(len(hits)) + 1) / (hits + 1))))
    return {name: float(np.mean(values)) for name, values in figures.items()}


@pytest.mark.parametrize("name", PARTS)
def test_figures_are_those_of_the_published_loops(name: str) -> None:
    probe, gallery = PARTS[name]
    points, table = windows((probe, gallery, "train"))
    found = evaluate(points, table, PROTOCOLS[name], bootstrap=0)
    figures = found.metrics[probe]
    expected = published(points, table, probe, gallery)
    assert {key: figures[key] for key in expected} == pytest.approx(expected)
    assert figures["n"] == (table["condition"] == probe).sum()
    assert not found.notes
    assert 0.2 < expected["rank1"] < 1


def test_every_set_of_skeletons_in_space_has_some() -> None:
    for data in DATASETS:
        if issubclass(data, SpatialDataModule):
            assert data.default_protocols
            assert all(
                isinstance(data.protocols[name], Protocol) for name in data.default_protocols
            )
            assert all(name.startswith(f"{data.dataset}.") for name in data.protocols)


def test_people_of_one_part_alone_are_counted() -> None:
    points, table = windows(("A", "B"))
    kept = ~((table["subject"] == "004") & (table["condition"] == "B")).to_numpy()
    found = evaluate(points[kept], table[kept], retrieval("x", "A", "B")["x.a"], bootstrap=0)
    lost = ((table["subject"] == "004") & (table["condition"] == "A")).sum()
    assert found.metrics["A"]["unmatched"] == lost
    text = found.to_markdown()
    assert "The gallery has no sequence of 1 of 5 subjects: 004." in text
    assert f"A: {lost} of {(table['condition'] == 'A').sum()} trials have no partner" in text
