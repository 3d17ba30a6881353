import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitbench.errors import InputError
from gaitbench.readers.gaitcopy_samples import find_samples, read_samples, samples_fingerprint
from gaitbench.report import data_report
from gaitbench.store import SequenceStore, StoreInfo, store_at

h5py = pytest.importorskip("h5py")

INFO = StoreInfo("gaitcopy_samples", "images", None, "0 to 255")
TRAIN = "tfimdb_tum_gaid_N150_train"
TEST = "tfimdb_tum_gaid_N155_ft"


def values(modality: str, seed: int = 0) -> np.ndarray:
    """What a sample holds, (60, 60, 25) or (60, 60, 50)."""
    draw = np.random.default_rng(seed)
    if modality == "gray":
        return draw.integers(0, 256, (60, 60, 25), dtype=np.uint8)
    return draw.integers(-900, 900, (60, 60, 50)).astype(np.int16)


def write(folder: Path, name: str, modality: str, seed: int = 0, **changed: Any) -> Path:
    """A file as deepdish writes it: arrays compressed, single numbers as attributes of the root."""
    folder = folder.with_name(f"{folder.name}_{'gray' if modality == 'gray' else 'of'}25_60x60")
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "data": values(modality, seed),
        "frames": np.arange(3 + seed, 28 + seed, dtype=np.uint16),
        "bbs": np.zeros((25, 4), np.uint8),
        "label": np.uint16(1),
        "videoId": np.uint16(1),
        "gait": np.uint8(1),
        "compressFactor": np.uint8(0 if modality == "gray" else 100),
    } | changed
    with h5py.File(folder / f"{name}.h5", "w") as file:
        file.attrs["PYTABLES_FORMAT_VERSION"] = np.bytes_("2.1")
        for key, value in content.items():
            if isinstance(value, np.ndarray):
                large = value.size > 300
                file.create_dataset(key, data=value, compression="gzip" if large else None)
            elif value is not None:
                file.attrs[key] = value
    return folder / f"{name}.h5"


def write_empty(folder: Path, name: str, modality: str) -> None:
    """A file of a video without a track: the shape (0,) stands in place of its values."""
    path = write(folder, name, modality, data=np.zeros(1, np.int64))
    with h5py.File(path, "a") as file:
        file["data"].attrs["zeroarray_dtype"] = np.bytes_("|u1")


def read(path: Path, tmp_path: Path, *modalities: str) -> SequenceStore:
    return store_at(
        tmp_path / "store",
        samples_fingerprint(path, modalities),
        lambda writer: read_samples(path, modalities, writer, tmp_path / "keep"),
        INFO,
    )


def test_samples_of_both_modalities(tmp_path):
    tree = tmp_path / "tree"
    for seed, (part, name) in enumerate(
        [(TRAIN, "p001-n01-01"), (TRAIN, "p001-n01-02"), (TEST, "p002-b02-01")]
    ):
        for modality in ("gray", "flow"):
            write(tree / part, name, modality, seed)
    with h5py.File(tree / f"{TRAIN}_of25_60x60" / f"{TRAIN}_of25_60x60.h5", "w") as index:
        index["label"] = [1, 1]
    depth = write(tree / TRAIN.replace("150", "149"), "p001-n01-03", "gray").parent
    depth.rename(depth.with_name(depth.name.replace("gray", "depth")))
    (tree / "notes").mkdir()
    store = read(tree, tmp_path, "gray", "flow")
    table = store.sequences
    assert [*store.arrays] == ["gray", "flow"]
    assert table["subject"].tolist() == ["001", "001", "002"]
    assert table["condition"].tolist() == ["n", "n", "b"]
    assert table["number"].tolist() == [1, 1, 2]
    assert table["view"].tolist() == [90] * 3
    assert table["part"].tolist() == ["N150_train", "N150_train", "N155_ft"]
    assert table["first_frame"].tolist() == [3, 4, 5]
    assert table["length"].tolist() == [25] * 3
    for seed in range(3):
        gray, flow = values("gray", seed), values("flow", seed)
        for frame in (0, 24):
            place = 25 * seed + frame
            np.testing.assert_array_equal(store.arrays["gray"][place], gray[..., frame])
            for axis in (0, 1):
                np.testing.assert_array_equal(
                    store.arrays["flow"][place, ..., axis], flow[..., 2 * frame + axis]
                )
    assert data_report(store).skipped == 0


def test_samples_of_casia_b(tmp_path):
    folder = tmp_path / "tfimdb_casia_b_N050_test_nm05-06_090"
    path = write(folder, "090-nm-05-018-01", "flow").parent
    for place in (tmp_path, path):  # above the folder, or the folder itself
        (row,) = read(place, tmp_path, "flow").sequences.itertuples()
        assert (row.subject, row.condition, row.number, row.view) == ("090", "nm", 5, 18)


FAULTS = {
    "01": ({"data": values("gray")[:, :, :24]}, "has data of shape (60, 60, 24) and type uint8"),
    "02": ({"data": values("gray").astype(np.float32)}, "type float32, expected (60, 60, 25)"),
    "03": ({"data": None}, "lacks data"),
    "04": ({"compressFactor": np.uint8(100)}, "has compressFactor 100, expected 0"),
    "05": ({"frames": np.arange(24)}, "has a frames that is not 25 whole numbers"),
    "06": ({"compressFactor": None}, "lacks compressFactor"),
    "07": ({"frames": np.arange(25.0)}, "has a frames that is not 25 whole numbers"),
}


def test_what_cannot_be_used_is_named_and_the_rest_kept(tmp_path):
    tree = tmp_path / "tree"
    folder = tree / TRAIN
    for number, (changed, _) in FAULTS.items():
        write(folder, f"p001-n01-{number}", "gray", **changed)
    write_empty(folder, "p001-n02-01", "gray")
    cut = write(folder, "p001-n03-01", "gray")
    os.truncate(cut, 5000)
    (cut.parent / "p001-n03-02.h5").write_bytes(b"no HDF5")
    write(folder, "p001-n04-01", "gray")
    write(tree / TEST, "p001-n04-01", "gray")
    store = read(tree, tmp_path, "gray")
    assert store.sequences["sequence"].tolist() == ["p001-n04-01"]
    report = data_report(store)
    assert report.skipped == len(FAULTS) + 4
    told = (store.path / "skipped.csv").read_text()
    for number, (_, why) in FAULTS.items():
        assert f"{TRAIN}_gray25_60x60/p001-n01-{number}.h5" in told
        assert why in told.replace('"', "")
    assert "p001-n02-01.h5,is empty: nobody was found in its video" in told
    assert told.count("is no HDF5 file that can be read") == 2
    assert "p001-n04-01.h5,is the same window as" in told
    assert "left out in reading, whole or in part | 11 |" in report.to_text()


def test_a_window_that_lacks_a_modality_is_left_out(tmp_path):
    tree = tmp_path / "tree"
    for modality in ("gray", "flow"):
        write(tree / TRAIN, "p001-n01-01", modality)
        write(tree / TRAIN, "p001-n01-02", modality, seed=modality == "flow")
    write(tree / TRAIN, "p001-n01-03", "gray")
    store = read(tree, tmp_path, "gray", "flow")
    assert store.sequences["sequence"].tolist() == ["p001-n01-01"]
    told = (store.path / "skipped.csv").read_text()
    assert "p001-n01-02.h5,is of other frames than" in told
    assert "p001-n01-03.h5,has no flow beside it" in told
    assert len(read(tree, tmp_path / "other", "gray")) == 3


def test_nothing_to_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        find_samples(tmp_path / "absent")
    with pytest.raises(InputError, match="has no sample such as"):
        find_samples(tmp_path)
    write(tmp_path / TRAIN, "p001-n01-01", "gray", data=None)
    with pytest.raises(
        InputError, match=r"no frame to read; the first fault: p001-n01-01 lacks data$"
    ):
        read(tmp_path, tmp_path / "out", "gray")
    write(tmp_path / "tfimdb_casia_b_N074_train", "001-nm-01-090-01", "gray")
    with pytest.raises(InputError, match="of TUM-GAID and of CASIA-B"):
        find_samples(tmp_path)


def test_a_changed_file_changes_the_fingerprint(tmp_path):
    path = write(tmp_path / TRAIN, "p001-n01-01", "gray")
    before = samples_fingerprint(tmp_path, ["gray"])
    assert samples_fingerprint(tmp_path, ["gray"]) == before
    assert samples_fingerprint(tmp_path, ["flow"]) != before
    os.utime(path, ns=(1, 1))
    assert samples_fingerprint(tmp_path, ["gray"]) != before
