"""CASIA-B as GaitFormer's authors keep it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gaitbench.casia_b import ANNOTATIONS, SUBJECTS
from gaitbench.datamodules import DATASETS, CasiaBTracks
from gaitbench.datamodules.casia_b import POOLED, PROTOCOLS
from gaitbench.errors import InputError
from gaitbench.protocols import evaluate
from gaitbench.readers.annotated import read_annotations
from tests.goldens import GAITFORMER, golden, unpacked_folder

GOLDEN = golden("evaluators", GAITFORMER)


def write(root: Path, lines: list[tuple[object, ...]], named_from: str = "") -> Path:
    """Poses whose values say which line they are of."""
    table = root / ANNOTATIONS
    (table.parent / "poses").mkdir(parents=True)
    rows = []
    for i, (subject, kind, run, view) in enumerate(lines):
        name = f"{table.parent.relative_to(root)}/poses/{i}.npy"
        np.save(root / name, np.full((50 + i, 18, 3), i, np.float32))
        rows.append((name.removeprefix(named_from), subject, kind, run, view))
    names = ["file_name", "track_id", "type", "run_id", "camera_id"]
    pd.DataFrame(rows, columns=names).to_csv(table, index=False)
    return root


LINES = [
    (63, "nm", 1, 0),
    (1, "bg", 2, 18),
    (124, "cl", 1, 180),
    (62, "nm", 6, 90),
    (100, "nm", 5, 36),
]


def ready(path: Path, cache: Path, **settings: object) -> CasiaBTracks:
    data = CasiaBTracks(str(path), cache=str(cache), **settings)
    data.prepare_data()
    data.setup("fit")
    return data


def test_columns_are_those_of_casia_b(tmp_path: Path) -> None:
    assert CasiaBTracks in DATASETS
    data = ready(write(tmp_path, LINES), tmp_path / "cache")
    table = data.sequences[["subject", "condition", "number", "view"]]
    assert list(table.itertuples(index=False, name=None)) == [
        (f"{s:03d}", c, n, v) for s, c, n, v in LINES
    ]
    assert PROTOCOLS.items() <= data.protocols.items()
    assert data.rows["train"].tolist() == [1, 3]
    assert data.rows["test"].tolist() == [0, 2, 4]
    assert data.split.train == SUBJECTS[:62]
    batch = next(iter(data.test_dataloader()))
    assert torch.equal(data.on_after_batch_transfer(batch, 0).frames, batch.frames)
    assert batch.frames[:, 0, 0, 0].tolist() == [0, 2, 4]
    assert data.normalized and data.what_becomes == ""


@pytest.mark.parametrize(
    ("split", "test"), [("99/25", [2, 4]), ("74/50", [2, 4]), ("62/62", [0, 2, 4])]
)
def test_splits(tmp_path: Path, split: str, test: list[int]) -> None:
    data = ready(write(tmp_path, LINES), tmp_path / "cache", split=split)
    assert data.rows["test"].tolist() == test
    with pytest.raises(InputError, match="'90/34' is unknown; choose one of 74/50, 62/62, 99/25"):
        CasiaBTracks(split="90/34")


def test_names_may_count_from_the_tables_folder(tmp_path: Path) -> None:
    root = write(tmp_path / "a", LINES, named_from="CASIA-cleaner-andy/data/")
    moved = (root / ANNOTATIONS).parent.rename(tmp_path / "elsewhere")
    assert len(ready(moved, tmp_path / "cache").sequences) == 5


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ((1, "nn", 1, 0), "line 4: type is nn, expected nm to cl"),
        ((1, "nm", 7, 0), "line 4: run_id is 7, expected 1 to 6"),
        ((1, "nm", 1, 17), "line 4: camera_id is 17, expected 0 to 180"),
        ((1, "nm", 1, "side"), "line 4: camera_id is 'side', expected a whole number"),
    ],
)
def test_what_the_dataset_has_not(tmp_path: Path, line: tuple, complaint: str) -> None:
    root = write(tmp_path, [*LINES[:2], line])
    with pytest.raises(InputError, match=complaint):
        ready(root, tmp_path / "cache")


def published() -> pd.DataFrame:
    """The table that the reference evaluated; its subjects are renumbered by their place."""
    data = CasiaBTracks(str(unpacked_folder("evaluators") / "casia_annotations.csv"))
    table = data.to_table(read_annotations(data.source))
    return table.assign(place=table["subject"].rank(method="dense").astype(int) - 1)


def test_the_reference_s_figures() -> None:
    """Its table read by this module, its embeddings judged by the pooled protocol."""
    table = published()
    test = table["place"].to_numpy() >= 62
    found = evaluate(GOLDEN["casia/embeddings"][test], table[test], POOLED, bootstrap=0)
    cells = found.table[found.table["metric"] == "rank1"]
    for name, kind in (("NM", "A"), ("CL", "B"), ("BG", "C")):
        mean = float(GOLDEN[f"casia/single_{kind}/mean"])
        assert found.metrics[name]["rank1"] == pytest.approx(mean, abs=1e-9)
        views = cells[cells["probe_set"] == name].set_index("probe_view")["value"]
        angles = GOLDEN[f"casia/single_{kind}/probe_angle"].astype(int)
        expected = GOLDEN[f"casia/single_{kind}/accuracy"]
        np.testing.assert_allclose(views.loc[angles].to_numpy(), expected, atol=1e-9)
    # what its training is watched by
    watched = float(GOLDEN["casia/trainer_metric"])
    assert found.metrics["NM"]["rank1"] == pytest.approx(watched, abs=1e-9)
