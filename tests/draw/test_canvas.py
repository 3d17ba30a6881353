import os
import subprocess
import sys
from pathlib import Path

import pytest

from gaitbench.draw import (
    learning_curve,
    save_figure,
)


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_figures_are_saved_whole_or_not_at_all(tmp_path: Path, ending: str) -> None:
    figure = learning_curve({"loss": {"train": ([0, 1], [1, 0])}})
    path = tmp_path / "drawings" / f"curve.{ending}"
    assert save_figure(figure, path) == path
    assert os.listdir(path.parent) == [path.name]
    assert path.stat().st_size > 1000
    with pytest.raises(ValueError):
        save_figure(figure, tmp_path / "drawings" / "curve.xyz")
    assert os.listdir(path.parent) == [path.name]


def test_pyplot_is_never_imported() -> None:
    code = "import sys, gaitbench.draw; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
