"""The page's way to figures by group is run as it stands, and agrees with counting."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gaitbench.__main__ import run

PAGE = Path(__file__).parents[1] / "docs" / "responsible_use.md"
VIEWS = (0, 90)


def test_figures_by_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {"short": ("075", "076", "077"), "tall": ("078", "079")}
    lines = [f"{subject},{group}\n" for group, people in groups.items() for subject in people]
    page = PAGE.read_text(encoding="utf-8")
    assert re.search(r"^```text\nsubject,group\n", page, re.MULTILINE)
    (tmp_path / "groups.csv").write_text("subject,group\n" + "".join(lines))
    walks = [
        (subject, "nm", number, view)
        for people in groups.values()
        for subject in people
        for number in (1, 2, 5, 6)
        for view in VIEWS
    ]
    table = pd.DataFrame(walks, columns=["subject", "condition", "number", "view"])
    random = np.random.default_rng(0)
    points = random.normal(size=(len(table), 4)).astype(np.float32)
    table.to_csv(tmp_path / "sequences.csv", index=False)
    np.save(tmp_path / "embeddings.npy", points)

    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(compile(code, str(PAGE), "exec"), {})
    [command] = re.findall(r"^gaitbench (evaluate .*)$", page, re.MULTILINE)
    assert run(command.replace("lightning_logs/version_2", ".").split()) == 0

    points /= np.linalg.norm(points, axis=1, keepdims=True)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    for group, people in groups.items():
        right = []
        for probe in np.flatnonzero(table["subject"].isin(people) & (table["number"] >= 5)):
            known = (table["number"] <= 2) & (table["view"] != table["view"][probe])
            nearest = distance[probe, np.flatnonzero(known)].argmin()
            right.append(table["subject"][known].iloc[nearest] == table["subject"][probe])
        figures = json.loads((tmp_path / "metrics.json").read_text())["own.by_group"][group]
        assert figures["rank1"] == pytest.approx(np.mean(right))
        assert figures["n"] == len(people) * 4
        assert 0 < np.mean(right) < 1
