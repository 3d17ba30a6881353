from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaitbench.errors import InputError
from gaitbench.synthetic import synthesize_tum_gaid, tum_gaid
from gaitbench.synthetic.tum_gaid import tum_gaid_split
from gaitbench.tum_gaid import SUBJECTS, TWICE

FRAMES = 8
WALKS = {"n": (1, 2, 8), "b": (1,), "s": (1,)}


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Only the middle of each walk is recorded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tum_gaid, "MAX_FRAMES", FRAMES)
        yield


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize_tum_gaid(tmp_path_factory.mktemp("made") / "deep", 2, 3, sequences=WALKS)


def pictures(folder: Path) -> np.ndarray:
    paths = sorted(folder.iterdir())
    assert [path.stem for path in paths] == [f"{n:03d}" for n in range(1, FRAMES + 1)]
    return np.stack([np.asarray(Image.open(path)) for path in paths])


def middles(tree: Path, walked: str) -> np.ndarray:
    """Columns (T,) of the silhouettes' middles."""
    seen = pictures(tree / "silhouettes" / walked).sum(axis=1)
    return (seen * np.arange(640)).sum(axis=1) / seen.sum(axis=1)


def test_the_tree_has_the_published_form(tree: Path) -> None:
    assert tree.name == "TUM_GAID"
    walks = {"n01", "n02", "n08", "b01", "s01"}
    for person in ("p001", "p002"):
        folders = {path.name for path in (tree / "image" / person).iterdir()}
        assert folders == walks | {"back", "back2"}
        assert {path.name for path in (tree / "silhouettes" / person).iterdir()} == walks
    assert pictures(tree / "image/p001/n01").shape == (FRAMES, 480, 640, 3)
    assert [path.name for path in (tree / "flow").iterdir()] == ["p001-n01.npz"]
    lists = {path.name: path.read_text() for path in (tree / "labels").iterdir()}
    assert lists == {
        "tumgaidtrainids.lst": "1\n", "tumgaidvalids.lst": "", "tumgaidtestids.lst": "2\n"
    }  # fmt: skip


def test_walks_lead_to_the_left_and_to_the_right_through_one_room(tree: Path) -> None:
    assert (np.diff(middles(tree, "p001/n01")) < 0).all()
    assert (np.diff(middles(tree, "p001/n02")) > 0).all()
    for session, walks in (("back", ("n01", "n02", "b01", "s01")), ("back2", ("n08",))):
        empty = np.asarray(Image.open(tree / "image/p001" / session / "background.jpg"))
        for walked in walks:
            inside = pictures(tree / "silhouettes/p001" / walked) > 0
            differs = np.abs(pictures(tree / "image/p001" / walked).astype(int) - empty).mean(-1)
            assert np.median(differs[~inside]) < 4 < 12 < np.median(differs[inside])


def test_a_backpack_is_carried_on_the_back(tree: Path) -> None:
    def behind(walked: str) -> float:
        """Pixels that the trunk reaches backwards from the whole silhouette's middle."""
        seen = pictures(tree / "silhouettes" / walked) > 0
        rows = np.nonzero(seen.any(axis=(0, 2)))[0]
        chest = seen[:, rows[0] + len(rows) // 4]
        last = 639 - chest[:, ::-1].argmax(axis=1)
        return float((last - middles(tree, walked)).mean())

    assert behind("p001/b01") > behind("p001/n01") + 8


def test_the_split_has_all_parts() -> None:
    split = tum_gaid_split(len(SUBJECTS))
    assert sorted(chain(*split.values())) == list(SUBJECTS)
    assert {part: len(names) for part, names in split.items()} == {
        "train": 102, "validation": 51, "test": 152
    }  # fmt: skip
    assert len(set(split["test"]) & set(TWICE)) == 16
    for count in (1, 306):
        with pytest.raises(InputError, match=f"subjects is {count}"):
            tum_gaid_split(count)


def test_people_depend_on_nothing_but_seed_and_number(tree: Path, tmp_path: Path) -> None:
    three = synthesize_tum_gaid(tmp_path, 3, 3, sequences={"n": (2,)}, flow=0)
    name = "image/p002/n02/004.jpg"
    assert (three / name).read_bytes() == (tree / name).read_bytes()
    assert not list((three / "flow").iterdir())
