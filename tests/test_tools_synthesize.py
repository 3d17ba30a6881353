from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from gaitbench.__main__ import run
from gaitbench.synthetic import casia_b_video, tum_gaid, walk


def test_views_and_flow_may_be_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(casia_b_video, "walk", partial(walk, max_frames=3))
    words = ["--subjects", "2", "--views", "18", "18", "--flow", "2"]
    assert run(["synthesize", "casia-b-video", str(tmp_path), *words]) == 0
    assert capsys.readouterr().out == f"2 synthetic walkers written to {tmp_path / 'DatasetB'}\n"
    videos = {path.stem for path in (tmp_path / "DatasetB" / "video").iterdir()}
    assert len(videos) == 2 * 11 and all(name.endswith("-018") for name in videos)
    flows = {path.stem for path in (tmp_path / "DatasetB" / "flow").iterdir()}
    assert flows == {"001-nm-01-018", "075-nm-01-018"}


def test_views_of_poses_may_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["synthesize", "casia-b", str(tmp_path), "--subjects", "2", "--views"]
    assert run([*words, "200", "90", "90"]) == 0
    table = pd.read_csv(tmp_path / "casia-b_pose_coco.csv", usecols=["image_name"])
    assert not table.duplicated().any()
    walks = table["image_name"].str.split("/").str[1]
    assert walks.nunique() == 2 * 10 * 2
    assert {*walks.str[-3:]} == {"090", "200"}
    capsys.readouterr()
    assert run([*words, "360"]) == 2
    assert "view 360 is no direction of a camera" in capsys.readouterr().err


def test_tum_gaid_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tum_gaid, "MAX_FRAMES", 2)
    assert run(["synthesize", "tum-gaid", str(tmp_path), "--subjects", "2", "--flow", "0"]) == 0
    folders = {path.name for path in (tmp_path / "TUM_GAID" / "image" / "p002").iterdir()}
    walks = [*(f"n{n:02d}" for n in range(1, 13)), *(f"{c}0{n}" for c in "bs" for n in range(1, 5))]
    assert folders == {"back", "back2", *walks}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tum-gaid", "out", "--views", "90"], "tum-gaid has no --views"),
        (["fvg", "out", "--flow", "1"], "fvg has no --flow"),
        (["tum-gaid", "out", "--flow", "-1"], "--flow is -1"),
    ],
)
def test_what_a_dataset_has_not_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(["synthesize", *words])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
