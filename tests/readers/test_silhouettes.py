import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaitbench.errors import InputError
from gaitbench.readers import silhouettes
from gaitbench.readers.silhouettes import (
    find_walks,
    normalised,
    read_silhouettes,
    silhouettes_fingerprint,
)
from gaitbench.report import data_report
from gaitbench.store import SequenceStore, StoreInfo, store_at
from gaitbench.video.frames import silhouette_frame

INFO = StoreInfo("silhouettes", "images", None, "0 to 255")


def masks(count: int, seed: int = 0, shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Ovals (T, H, W) that move and change their width."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    wide = np.random.default_rng(seed).uniform(5, 9, count)
    ovals = [((x - 20 - i) / w) ** 2 + ((y - 24) / 18) ** 2 <= 1 for i, w in enumerate(wide)]
    return np.stack(ovals).astype(np.uint8) * 255


def write(folder: Path, frames: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(folder / f"{folder.name}-{number}.png")


def read(path: Path, tmp_path: Path) -> SequenceStore:
    return store_at(
        tmp_path / "store",
        silhouettes_fingerprint(path),
        lambda writer: read_silhouettes(path, writer, tmp_path / "keep"),
        INFO,
    )


def test_a_tree_of_images_and_pickles(tmp_path):
    tree = tmp_path / "tree"
    images = masks(12)  # number 10 comes after 9
    images[3] = 0
    write(tree / "001/nm-01/090", images)
    ready = normalised(masks(4, 1))
    for name, array in (("090", ready), ("108", ready[..., 10:54]), ("126", masks(4, 1) > 0)):
        folder = tree / "002" / "bg-02" / name
        folder.mkdir(parents=True)
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(array))
    store = read(tree, tmp_path)
    table = store.sequences
    assert table["subject"].tolist() == ["001", "002", "002", "002"]
    assert table["condition"].tolist() == ["nm", "bg", "bg", "bg"]
    assert table["number"].tolist() == [1, 2, 2, 2]
    assert table["view"].tolist() == [90, 90, 108, 126]
    assert table["length"].tolist() == [11, 4, 4, 4]
    assert table["dropped"].tolist() == [1, 0, 0, 0]
    expected = [silhouette_frame(mask) for mask in np.delete(images, 3, axis=0)]
    np.testing.assert_array_equal(store.frames[:11], expected)
    np.testing.assert_array_equal(store.frames[11:15], ready)
    np.testing.assert_array_equal(store.frames[15:19, :, 10:54], ready[..., 10:54])
    assert not store.frames[15:19, :, :10].any()
    np.testing.assert_array_equal(store.frames[19:], ready)  # truth values are white
    assert data_report(store).sequences == 4


def test_an_array_file_is_the_same(tmp_path):
    frames = np.concatenate([masks(5), masks(7, 1)])
    np.savez(
        tmp_path / "all.npz",
        frames=frames, start=[0, 5], length=[5, 7], subject=[7, 115], condition=["nm", "cl"],
        seq=[1, 2], view=[0, 90],
    )  # fmt: skip
    store = read(tmp_path / "all.npz", tmp_path)
    labels = store.sequences[["subject", "condition", "number", "view", "length"]]
    assert labels.to_numpy().tolist() == [["007", "nm", 1, 0, 5], ["115", "cl", 2, 90, 7]]
    np.testing.assert_array_equal(store.frames, [silhouette_frame(mask) for mask in frames])


def test_what_is_wrong_is_named_and_the_rest_kept(tmp_path):
    tree = tmp_path / "tree"
    write(tree / "001/nm-01/090", masks(5))
    (tree / "001/nm-01/090/090-3.png").write_bytes(b"no image")
    write(tree / "001/nm-02/090", masks(2) * 0)
    (tree / "001/nm-03/090").mkdir(parents=True)
    (tree / "001/nm-03/090/notes.txt").write_text("none")
    (tree / "001/nm-04/090").mkdir(parents=True)
    (tree / "001/nm-04/090/090.pkl").write_bytes(pickle.dumps(masks(2).astype(float)))
    (tree / "001/nm-05/090").mkdir(parents=True)
    (tree / "001/nm-05/090/090.pkl").write_bytes(pickle.dumps(masks(2)[0]))
    store = read(tree, tmp_path)
    assert store.sequences["length"].tolist() == [4]
    told = data_report(store).skipped_first
    expected = {
        "001/nm-01/090": "1 damaged images (frames saved: 4)",
        "001/nm-03/090": "neither images nor a pickle",
        "001/nm-04/090": "its values are f8, not bytes",
        "001/nm-05/090": "pickled with shape (48, 64), expected (T, H, W)",
    }
    assert len(told) == len(expected)
    for sentence, (walk, fault) in zip(told, expected.items(), strict=True):
        assert sentence.startswith(walk)
        assert fault in sentence


def test_changes_are_noticed(tmp_path):
    tree = tmp_path / "tree"
    write(tree / "001/nm-01/090", masks(3))
    before = silhouettes_fingerprint(tree)
    assert before == silhouettes_fingerprint(tree)
    (tree / "001/nm-01/090/090-2.png").unlink()
    assert before != silhouettes_fingerprint(tree)


def test_other_folders_and_files_are_refused(tmp_path):
    for missing in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match=str(missing)):
            find_walks(missing)
    path = tmp_path / "all.npz"
    whole = {
        "frames": masks(5), "start": [0], "length": [5], "subject": [7], "condition": ["nm"],
        "view": [0],
    }  # fmt: skip
    for change, why in (
        ({"view": None}, "lacks the array view"),
        ({"length": [6]}, "walks outside its 5 frames"),
        ({"frames": masks(5).astype(float)}, "type float64"),
        ({"subject": [7, 8]}, "differ in length"),
        ({"start": 0}, "differ in length"),
        ({"view": [0.5]}, "outside"),
        ({"number": ["one"]}, "numbers of walks"),
    ):
        kept = {name: array for name, array in (whole | change).items() if array is not None}
        np.savez(path, **kept)
        with pytest.raises(InputError, match=why):
            read(path, tmp_path)
    path.write_bytes(b"none")
    with pytest.raises(InputError, match=r"no \.npz file"):
        read(path, tmp_path)


def test_places_may_be_told_in_bytes(tmp_path):
    told = {name: np.array([value], np.uint8) for name, value in (("subject", 7), ("view", 0))}
    told |= {"start": np.array([250], np.uint8), "length": np.array([10], np.uint8)}
    path = tmp_path / "all.npz"
    np.savez(path, frames=np.repeat(masks(1), 260, axis=0), condition=["nm"], **told)
    assert len(silhouettes._read_arrays(path).frames) == 10
    np.savez(path, frames=np.repeat(masks(1), 255, axis=0), condition=["nm"], **told)
    with pytest.raises(InputError, match="walks outside its 255 frames"):
        silhouettes._read_arrays(path)


@pytest.mark.parametrize("kind", ["EPS", "TIFF", "GIF"])
def test_images_that_are_called_otherwise(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For some formats Pillow runs programs: ghostscript draws PostScript."""
    ran: list[object] = []
    monkeypatch.setattr("subprocess.Popen", lambda *words, **how: ran.append(words))
    monkeypatch.setattr("subprocess.check_call", lambda *words, **how: ran.append(words))
    Image.new("L", (30, 40), 1).save(tmp_path / "1.png", kind)
    frames, fault = silhouettes._read_walk(tmp_path)
    assert (len(frames), fault, ran) == (0, "has 1 damaged images", [])


def test_images_that_are_all_width(tmp_path: Path) -> None:
    """Made 64 rows high, three rows of 9,000 columns would want 7 GB."""
    Image.new("L", (9000, 3), 255).save(tmp_path / "1.png")
    assert silhouettes._read_walk(tmp_path)[1] == "has 1 damaged images"
    assert not silhouette_frame(np.full((3, 8000), 255, np.uint8)).any()
