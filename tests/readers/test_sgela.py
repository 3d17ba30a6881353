import io
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaitbench.errors import InputError
from gaitbench.kinect import BIWI, IAS_LAB, KGBD, KGBD_ORDER, KS20, KinectSet
from gaitbench.readers.kinect import JointOrder
from gaitbench.readers.sgela import find_windows, read_ids, read_windows, windows_fingerprint
from gaitbench.store import SequenceStore, StoreInfo, cached_store
from tests.goldens import kinect_trees

INFO = StoreInfo("windows", "skeleton3d", "kinect20", "metres, x y z")
PUBLISHED = "npy_dataset"


def read(
    path: Path,
    data: KinectSet,
    cache: Path,
    joint_order: JointOrder = "kinect",
    view: int | None = None,
) -> SequenceStore:
    parts = find_windows(path, data, 6, view)
    return cached_store(
        cache,
        data.name,
        windows_fingerprint(parts, order=joint_order),
        lambda writer: read_windows(parts, data, joint_order, writer, cache / ".parts"),
        INFO,
    )


def write(
    folder: Path, tag: str, prefix: str, ids: Any, seed: int, windows: int, joints: int = 20
) -> np.ndarray:
    """Windows (N, 6, 20, 3) written as published, and who is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = np.random.default_rng(seed).normal(size=(windows, 6, joints, 3))
    for axis, name in enumerate("xyz"):
        values = frames[..., axis].reshape(-1, joints)
        np.save(folder / f"{prefix}source_{name}_{tag}_6.npy", values)
    if isinstance(ids, dict):
        np.save(folder / f"ids_{tag}_6.npy", np.array(ids, dtype=object), allow_pickle=True)
    else:
        shutil.copy(ids, folder)
    return frames.astype(np.float32)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (BIWI, {"train": ("train", "BIWI", ""), "test": ("test", "BIWI", "t_")}),
        (
            IAS_LAB,
            {
                "train": ("train", "IAS", ""),
                "A": ("test", "IAS-A", "t_"),
                "B": ("test", "IAS-B", "t_"),
            },
        ),
    ],
    ids=["biwi", "ias"],
)
@pytest.mark.parametrize("above", ["", "Datasets", "journal"])
def test_published_identities_are_read(
    data: KinectSet, parts: dict[str, tuple[str, str, str]], above: str, tmp_path: Path
) -> None:
    """The dictionaries were pickled by the authors' own numpy; the arrays here are drawn."""
    base = tmp_path / (f"Datasets/{data.name}/6" if above == "journal" else above)
    frames, persons = {}, {}
    for seed, (condition, (part, tag, prefix)) in enumerate(parts.items()):
        folder = kinect_trees() / PUBLISHED / f"{data.name}_{part}_npy_data"
        persons[condition] = np.load(folder / f"frame_id_{tag}_6.npy")
        frames[condition] = write(
            base / folder.name,
            tag,
            prefix,
            folder / f"ids_{tag}_6.npy",
            seed,
            len(persons[condition]),
        )
    store = read(tmp_path, data, tmp_path / "cache")
    table = store.sequences
    assert table["condition"].unique().tolist() == list(parts)
    for condition in parts:
        rows = np.flatnonzero(table["condition"] == condition)
        assert table["subject"].astype(int).iloc[rows].tolist() == persons[condition].tolist()
        assert table["number"].iloc[rows].tolist() == list(range(len(rows)))
        steps = np.broadcast_to(np.arange(6), (len(rows), 6))
        np.testing.assert_array_equal(store.gather(rows, steps), frames[condition])


@pytest.mark.parametrize("prefix", ["", "t_"])
def test_the_later_layout_has_a_folder_a_part(prefix: str, tmp_path: Path) -> None:
    base = tmp_path / "KGBD" / "6"
    drawn = write(base / "train_npy_data", "KGBD", "", {1: [1], 164: [0]}, 0, 2)
    for part in ("gallery", "probe"):
        write(base / "test_npy_data" / part, "KGBD", prefix, {1: [0], 164: []}, 1, 1)
    for path in (tmp_path, base):
        assert [files.condition for files in find_windows(path, KGBD, 6)] == [
            "train",
            "gallery",
            "probe",
        ]
    store = read(base, KGBD, tmp_path / "cache")
    assert store.sequences["subject"].tolist() == ["164", "001", "001", "001"]
    np.testing.assert_array_equal(store.frames[:12], drawn.reshape(12, 20, 3)[:, KGBD_ORDER])
    published = read(base, KGBD, tmp_path / "other", "published")
    np.testing.assert_array_equal(published.frames[:12], drawn.reshape(12, 20, 3))
    shutil.rmtree(base / "test_npy_data")
    with pytest.raises(InputError, match=r"test_npy_data has no folder of a test part, expected"):
        find_windows(base, KGBD, 6)


@pytest.mark.parametrize("later", [False, True])
def test_views_of_ks20_have_folders_of_their_own(later: bool, tmp_path: Path) -> None:
    base, drawn = tmp_path / "Datasets" / "KS20" / "6", {}
    name, test = ("", "probe") if later else ("KS20_", "")
    for number in (1, 3):
        folder = base / f"view_{number}"
        drawn[number] = write(
            folder / f"{name}train_npy_data", "KS20", "", {2: [0, 1]}, number, 2, 25
        )
        write(folder / f"{name}test_npy_data" / test, "KS20", "t_", {2: [0]}, 9, 1, 25)
    store = read(tmp_path, KS20, tmp_path / "all")
    part = "probe" if later else "test"
    assert store.sequences["condition"].tolist() == ["train"] * 4 + [part] * 2
    assert store.sequences["view"].tolist() == [30, 30, 130, 130, 30, 130]
    trained = np.concatenate([drawn[1], drawn[3]]).reshape(24, 25, 3)
    np.testing.assert_array_equal(store.frames[:24], trained)
    store = read(tmp_path, KS20, tmp_path / "one", view=130)
    assert store.sequences["view"].tolist() == [130] * 3
    np.testing.assert_array_equal(store.frames[:12], drawn[3].reshape(12, 25, 3))
    assert find_windows(tmp_path, KS20, 6, view=180) == []
    # files that are of no view count before those of all
    write(base / f"{name}train_npy_data", "KS20", "", {2: [0]}, 5, 1, 25)
    write(base / f"{name}test_npy_data" / test, "KS20", "t_", {2: [0]}, 6, 1, 25)
    assert read(tmp_path, KS20, tmp_path / "whole").sequences["view"].tolist() == [0, 0]


def test_frames_of_nothing_but_zeros_are_counted(tmp_path: Path) -> None:
    biwi(tmp_path)
    for axis in "xyz":
        file = tmp_path / "BIWI_train_npy_data" / f"source_{axis}_BIWI_6.npy"
        values = np.load(file)
        values[7:9] = 0
        if axis == "z":
            values[0, 3] = 0
        np.save(file, values)
    table = read(tmp_path, BIWI, tmp_path / "cache").sequences
    assert table["zero_frames"].tolist() == [0, 2, 0, 0]
    assert table["zero_joints"].tolist() == [1, 40, 0, 0]


def biwi(path: Path, ids: Any = None, windows: int = 3) -> Path:
    """Windows of BIWI, of which the training ones are said to be those of ``ids``."""
    write(path / "BIWI_train_npy_data", "BIWI", "", ids or {1: [0, 1, 2]}, 0, windows)
    write(path / "BIWI_test_npy_data", "BIWI", "t_", {1: [0]}, 1, 1)
    return path


def test_windows_of_nobody_are_listed(tmp_path: Path) -> None:
    store = read(biwi(tmp_path, {"1": [2], 30: [0]}), BIWI, tmp_path / "cache")
    assert store.sequences["subject"].tolist() == ["030", "001", "001"]
    assert store.sequences["number"].tolist() == [0, 2, 0]
    assert (store.path / "skipped.csv").read_text().splitlines()[1:] == [
        "1,source_x_BIWI_6.npy,is left out: ids_BIWI_6.npy names nobody for that window"
    ]


def test_other_folders_hold_no_windows(tmp_path: Path) -> None:
    assert find_windows(tmp_path, BIWI, 6) == []
    assert find_windows(biwi(tmp_path), IAS_LAB, 6) == []


def test_missing_files_are_named(tmp_path: Path) -> None:
    biwi(tmp_path)
    with pytest.raises(
        InputError, match=r"source_x_BIWI_8\.npy is missing, there are windows of 6"
    ):
        find_windows(tmp_path, BIWI, 8)
    (tmp_path / "BIWI_test_npy_data" / "ids_BIWI_6.npy").unlink()
    with pytest.raises(InputError, match=r"ids_BIWI_6\.npy is missing.*; copy it, or mend data\."):
        find_windows(tmp_path, BIWI, 6)
    shutil.rmtree(tmp_path / "BIWI_test_npy_data")
    with pytest.raises(InputError, match=r"t_source_x_BIWI_6\.npy is missing; copy it"):
        find_windows(tmp_path, BIWI, 6)


@pytest.mark.parametrize(
    ("ids", "fault"),
    [
        ({1: [0, 1, 3]}, r"names window 3 of person 001, but source_x_BIWI_6\.npy has 3 from 0"),
        ({1: [0, 1], 2: [1, 2]}, "names window 1 twice, for 002 the second time"),
        ({1: [0, 1, 1]}, "names window 1 twice, for 001"),
        ({1: [0], "1": [1]}, "has two entries of person 001"),
        ({1: [-1]}, "a window's number is out of all range"),
        ({1: [2**70]}, "a window's number is out of all range"),
        ({1: [True]}, "a window is no whole number"),
        ({1: [0.5]}, "a window is no whole number"),
        ({1: (0, 1)}, "does not map a number or a name to a list"),
        ({1.5: [0]}, "does not map a number or a name to a list"),
        ({1: [np.int64(1)]}, "it asks for numpy.*scalar"),
    ],
)
def test_identities_that_do_not_fit_are_refused(ids: Any, fault: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"ids_BIWI_6\.npy .*{fault}.*; (copy|join)"):
        read(biwi(tmp_path, ids), BIWI, tmp_path / "cache")


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = biwi(tmp_path) / "BIWI_train_npy_data" / "source_y_BIWI_6.npy"
    values = np.load(file)

    def refused(array: np.ndarray, fault: str) -> None:
        np.save(file, array)
        with pytest.raises(InputError, match=rf"source_y_BIWI_6\.npy {fault}"):
            read(tmp_path, BIWI, tmp_path / "cache")

    refused(values[:12], r"has 2 windows, source_x_BIWI_6\.npy has 3; copy the files of one state")
    refused(values[:-1], "holds 340 values of float64, expected numbers, 120 a window of 6 frames")
    refused(values[:0], "holds 0 values")
    refused(values.astype(str), "holds 360 values of <U")
    refused(np.array({}, dtype=object), r"is no \.npy file of numbers")
    values[7, 3] = 1e300
    refused(values, "has no finite number for joint 3 in frame 1 of window 1")
    file.write_bytes(b"")
    with pytest.raises(InputError, match=r"source_y_BIWI_6\.npy is no \.npy file of numbers"):
        read(tmp_path, BIWI, tmp_path / "cache")


class Runs:
    """Its pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def npy(pickled: bytes, descr: str = "|O") -> bytes:
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + pickled


def wrapped(content: Any, protocol: int = 2) -> bytes:
    return pickle.dumps(np.array(content, dtype=object), protocol)


MARK = Path("touched-by-a-pickle")
HOSTILE = {
    "a call": wrapped(Runs(MARK.touch)),
    "a call in a value": wrapped({1: [Runs(MARK.touch)]}),
    "a call in a key": wrapped({Runs(MARK.touch): [1]}),
    "eval": wrapped(Runs(eval, "1")),
    "a type of numpy": wrapped({1: np.arange(3)}),
    "numpy's own attribute": b"cnumpy.core.multiarray\nscalar\n.",
    "dots": b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.",
    "memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "memo in text": b"]p99999999999\n.",
    "a persistent name": b"Pname\n.",
    "an extension": b"\x82\x01.",
    "itself": b"\x80\x02}q\x00K\x01h\x00s.",
    "no wrapping": pickle.dumps({1: [0]}, 2),
    "a list": wrapped([1]),
    "two objects": wrapped([{}, {}]),
    "depth": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
    "truncated": wrapped({1: [0]})[:-9],
    "empty": b"",
    "the array's class called": b"\x80\x02cnumpy\nndarray\n)R.",
    "items of the stand-in": b"\x80\x02cnumpy\nndarray\n)RK\x01K\x02s.",
    "attributes of the stand-in": b"\x80\x02cnumpy\nndarray\n)R}X\x01\x00\x00\x00aK\x01sb.",
    "class of the stand-in": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.",
}


@pytest.mark.parametrize("pickled", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pickles_are_refused(
    pickled: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "ids_BIWI_6.npy"
    file.write_bytes(npy(pickled))
    with pytest.raises(
        InputError, match="is no dictionary of persons that can be read safely"
    ) as e:
        read_ids(file)
    assert "\n" not in str(e.value)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\3\4", b"\x93NUMPY\x09\x00", npy(wrapped({1: [0]}), "<f8"), npy(b"")[:30]],
)
def test_files_that_are_no_arrays_are_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "ids_BIWI_6.npy"
    file.write_bytes(content)
    with pytest.raises(InputError, match="is no dictionary of persons that can be read safely"):
        read_ids(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_ids(tmp_path / "nothing.npy")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 6))
def test_damaged_identities_are_read_or_refused(
    tmp_path: Path, place: int, piece: bytes, lost: int
) -> None:
    whole = npy(wrapped({1: [0, 1], "guest": [2]}))
    place %= len(whole) + 1
    file = tmp_path / "ids.npy"
    file.write_bytes(whole[:place] + piece + whole[place + lost :])
    try:
        people = read_ids(file)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert all(windows.dtype == np.int64 for windows in people.values())


@pytest.mark.parametrize("protocol", range(2, 6))
def test_identities_of_every_protocol_are_read(protocol: int, tmp_path: Path) -> None:
    file = tmp_path / "ids.npy"
    ids = {7: [0, 3], "12": [1], "guest": [], 300: [70000]}
    file.write_bytes(npy(wrapped(ids, protocol)))
    found = {name: windows.tolist() for name, windows in read_ids(file).items()}
    assert found == {"007": [0, 3], "012": [1], "guest": [], "300": [70000]}


MANY = list(range(1000))
SAME = dict.fromkeys(MANY, MANY)  # a small file, as its lists are one and the same
DAMAGED = (b"\x93NUMPY\x01\0\x04\0'''\n", b"PK\3\4", b"PK\5\6" + bytes(18))


@pytest.mark.parametrize("ids", [{10**5000: [0]}, {-1: [0]}, SAME])
def test_numbers_and_lists_beyond_all_measure(ids: dict[int, list[int]], tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.array(ids, object), allow_pickle=True)
    with pytest.raises(InputError, match=r"no dictionary of persons that can be read safely"):
        read_ids(tmp_path / "ids.npy")


@pytest.mark.parametrize("content", DAMAGED)
def test_windows_that_are_no_numbers(content: bytes, tmp_path: Path) -> None:
    write(tmp_path / "BIWI_train_npy_data", "BIWI", "", {1: [0]}, 0, 3)
    write(tmp_path / "BIWI_test_npy_data", "BIWI", "t_", {1: [0]}, 0, 3)
    (tmp_path / "BIWI_train_npy_data" / "source_y_BIWI_6.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"source_y_BIWI_6\.npy is (no|an) \.np[yz] file"):
        read(tmp_path, BIWI, tmp_path / "cache")


def test_numbers_that_are_signals_are_refused(tmp_path: Path) -> None:
    """A NaN that raises a flag where it is made single."""
    path = biwi(tmp_path) / "BIWI_train_npy_data" / "source_y_BIWI_6.npy"
    values = np.load(path)
    values.view(np.uint64)[0, 7] = 0x7FF0000000000001
    np.save(path, values)
    with pytest.raises(InputError, match="no finite number for joint 7 in frame 0 of window 0"):
        read(tmp_path, BIWI, tmp_path / "cache")
