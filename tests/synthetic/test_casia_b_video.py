from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gaitbench.errors import InputError
from gaitbench.synthetic import casia_b_video, synthesize_casia_b_video, walk
from gaitbench.synthetic.casia_b_video import FPS

FRAMES = 16


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Only the middle of each walk is recorded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(casia_b_video, "walk", partial(walk, max_frames=FRAMES))
        yield


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "deep" / "er"
    sequences = {"nm": (1,), "cl": (2,)}
    return synthesize_casia_b_video(out, 2, seed=3, sequences=sequences, views=(90, 0, 180))


def decoded(path: Path) -> np.ndarray:
    """(T, H, W, 3)."""
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == FPS
        return np.stack([image.to_ndarray(format="rgb24") for image in container.decode(video=0)])


def silhouettes(tree: Path, name: str) -> np.ndarray:
    """(T, H, W)."""
    subject, condition, number, view = name.split("-")
    folder = tree / "silhouettes" / subject / f"{condition}-{number}" / view
    paths = sorted(folder.iterdir())
    assert [path.name for path in paths] == [f"{name}-{n:03d}.png" for n in range(1, FRAMES + 1)]
    return np.stack([np.asarray(Image.open(path)) for path in paths]) == 255


def test_the_tree_has_the_published_names(tree: Path) -> None:
    assert tree.name == "DatasetB"
    assert [path.name for path in tree.parent.iterdir()] == ["DatasetB"]
    assert sorted(path.name for path in tree.iterdir()) == ["flow", "silhouettes", "video"]
    assert {path.name for path in (tree / "video").iterdir()} == {
        f"{subject}-{walked}-{view}.avi"
        for subject in ("001", "075")
        for walked in ("nm-01", "cl-02", "bkgrd")
        for view in ("000", "090", "180")
    }
    assert {path.name for path in (tree / "flow").iterdir()} == {
        f"001-nm-01-{view}.npz" for view in ("000", "090", "180")
    }


@pytest.mark.parametrize("name", ["001-nm-01-090", "075-cl-02-000"])
def test_silhouettes_are_where_the_video_differs_from_its_background(tree: Path, name: str) -> None:
    video, inside = decoded(tree / "video" / f"{name}.avi"), silhouettes(tree, name)
    assert video.shape == (*inside.shape, 3) == (FRAMES, 240, 320, 3)
    background = decoded(tree / "video" / f"{name[:3]}-bkgrd-{name[-3:]}.avi")
    differs = np.abs(video - np.median(background, axis=0)).max(axis=-1) > 20
    assert (differs & inside).sum() / inside.sum() > 0.75
    assert (differs & ~inside).sum() / (~inside).sum() < 0.02


def test_people_are_seen_from_the_right_side(tree: Path) -> None:
    def grows(view: str) -> float:
        area = silhouettes(tree, f"001-nm-01-{view}").sum(axis=(1, 2))
        return float(area[-3:].mean() / area[:3].mean())

    assert grows("000") > 1.1  # comes nearer
    assert grows("180") < 0.9
    columns = np.arange(320)
    aside = silhouettes(tree, "001-nm-01-090").sum(axis=1)
    middle = (aside * columns).sum(axis=1) / aside.sum(axis=1)
    assert (np.diff(middle) < 0).all()  # the camera is on the walker's left


def test_people_depend_on_nothing_but_seed_and_number(tree: Path, tmp_path: Path) -> None:
    three = synthesize_casia_b_video(tmp_path, 3, 3, sequences={"cl": (2,)}, views=(90,), flow=0)
    for path in (three / "video").iterdir():
        if not path.name.startswith("002"):
            assert path.read_bytes() == (tree / "video" / path.name).read_bytes()
    assert not list((three / "flow").iterdir())
    other = synthesize_casia_b_video(
        tmp_path / "other", 2, 4, sequences={"cl": (2,)}, views=(90,), flow=0
    )
    name = "video/001-cl-02-090.avi"
    assert (other / name).read_bytes() != (tree / name).read_bytes()


def test_a_common_estimate_of_flow_errs_by_less_than_a_pixel(tree: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    in_body, behind, shift = [], [], []
    for path in (tree / "flow").iterdir():
        video = decoded(tree / "video" / f"{path.stem}.avi")
        gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in video]
        found = np.stack([estimator.calc(*pair, None) for pair in pairwise(gray)])
        with np.load(path, allow_pickle=False) as exact:
            body, moved, visible = exact["solid"], exact["displacement"], ~exact["occluded"]
        error = np.linalg.norm(found - moved, axis=-1)
        in_body.append(error[body & visible].mean())
        behind.append(error[~body].mean())
        shift.append(np.linalg.norm(moved[body], axis=-1).mean())
    assert np.mean(in_body) < 0.8 and np.mean(in_body) < 0.5 * np.mean(shift)
    assert np.mean(behind) < 0.3


@pytest.mark.parametrize(
    ("subjects", "views", "word"),
    [(1, (90,), "subjects is 1"), (125, (90,), "subjects is 125"), (2, (90, 45), "view 45 is")],
)
def test_bad_requests_leave_nothing(
    tmp_path: Path, subjects: int, views: tuple[int, ...], word: str
) -> None:
    with pytest.raises(InputError, match=word):
        synthesize_casia_b_video(tmp_path / "out", subjects, 0, views=views)
    assert not (tmp_path / "out").exists()


def test_a_tree_is_not_written_over(tree: Path) -> None:
    with pytest.raises(InputError, match="is there already"):
        synthesize_casia_b_video(tree.parent, 2, 0)
