import csv
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.readers import skeletons
from gaitbench.readers.skeletons import (
    AXES,
    METRES,
    Options,
    read_skeletons,
    read_walks,
    skeleton_layout,
    skeletons_fingerprint,
)
from gaitbench.report import SKIPPED
from gaitbench.skeleton import BODY14, COCO17, KINECT20, KINECT25, Skeleton
from gaitbench.store import SequenceStore, StoreInfo, cached_store
from gaitbench.tools.datasets import OWN3D

Poses = NDArray[np.float32]

SDK = {"spine_base": "SpineBase", "left_hand_tip": "HandTipLeft", "spine_shoulder": "SpineShoulder"}


def walk(frames: int, joints: int = 20, seed: int = 0) -> Poses:
    """(T, V, 3) metres, nowhere zero."""
    random = np.random.default_rng([seed, frames, joints])
    return (random.random((frames, joints, 3)) + 0.5).astype(np.float32)


def write_table(
    path: Path, rows: list[tuple[dict[str, Any], Poses]], joints: tuple[str, ...] = KINECT20.joints
) -> Path:
    """A CSV of one pose a row behind its labels; ``None`` and NaN are empty fields."""
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow([*rows[0][0], *(f"{joint}_{axis}" for joint in joints for axis in "xyz")])
        for labels, pose in rows:
            values = ["" if np.isnan(value) else value for value in pose.ravel().tolist()]
            lines.writerow([*labels.values(), *values])
    return path


PLAIN = Options()


def store_of(
    path: Path, cache: Path, options: Options = PLAIN, labels: Path | None = None
) -> SequenceStore:
    layout = skeleton_layout(path)
    return cached_store(
        cache,
        "own3d",
        skeletons_fingerprint(path, labels, options=options),
        lambda writer: read_skeletons(path, options, layout, labels, writer, cache / ".parts"),
        StoreInfo("own3d", "skeleton3d", layout.name, "metres, x y z"),
    )


def column(store: SequenceStore, name: str) -> list[Any]:
    return store.sequences[name].tolist()


def refused(path: Path, cache: Path, **how: Any) -> str:
    with pytest.raises(InputError) as caught:
        store_of(path, cache, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_sequences_end_to_end_have_their_labels_beside_them(tmp_path: Path) -> None:
    """As shared motion capture comes: the sequences in any order, sides behind the joints."""
    names = [f"{'_'.join(joint.split('_')[::-1])}" for joint in COCO17.joints]
    poses = walk(9, 17)
    path = tmp_path / "walks.npz"
    np.savez(
        path,
        joints=poses[:, ::-1],
        joint_names=names[::-1],
        start=[5, 0],
        length=[4, 5],
        fps=25.0,
        subject=[7, 7],
        seq=[2, 1],
        split=["train", "test"],
        person=["Ada", "Ada"],
    )
    store = store_of(path, tmp_path)
    assert store.info.skeleton == "coco17"
    np.testing.assert_array_equal(store.frames, np.concatenate((poses[5:], poses[:5])))
    assert column(store, "sequence") == ["0", "1"]
    assert column(store, "subject") == ["7", "7"]
    assert column(store, "number") == [2, 1]
    assert column(store, "split") == ["train", "test"]
    assert column(store, "condition") == ["walk", "walk"]
    assert column(store, "missing") == column(store, "dropped") == [0, 0]


def test_every_format_gives_the_same_sequences(tmp_path: Path) -> None:
    one, two = walk(3), walk(4, seed=1)
    names = ("001-nm-01-090", "002-bg-02-000")
    sources = {form: tmp_path / form for form in ("npy", "npz", "csv")}
    for folder in sources.values():
        folder.mkdir()
    for name, poses in zip(names, (one, two), strict=True):
        np.save(sources["npy"] / f"{name}.npy", poses.astype(np.float64))
    np.savez(sources["npz"] / "both.npz", **dict(zip(names, (one, two), strict=True)))
    both = [
        ({"sequence": name, "frame": i}, pose)
        for name, poses in zip(names, (one, two), strict=True)
        for i, pose in enumerate(poses)
    ]
    # sequences may lie among each other
    write_table(sources["csv"] / "all.csv", [both[i] for i in (0, 3, 4, 1, 5, 6, 2)])
    for form, folder in sources.items():
        store = store_of(folder, tmp_path / "cache" / form)
        np.testing.assert_array_equal(store.frames, np.concatenate((one, two)))
        assert column(store, "subject") == ["001", "002"]
        assert column(store, "condition") == ["nm", "bg"]
        assert column(store, "number") == [1, 2]
        assert column(store, "view") == [90, 0]
        within = {
            "npy": names,
            "npz": [f"both/{n}" for n in names],
            "csv": [f"all/{n}" for n in names],
        }
        assert column(store, "sequence") == list(within[form])


def test_a_table_labels_its_sequences_itself(tmp_path: Path) -> None:
    told = {"subject": "Ada", "condition": "coat", "number": 3, "view": 90, "split": "train"}
    rows = [({"sequence": "a", "frame": i, **told}, pose) for i, pose in enumerate(walk(3))]
    rows += [({"sequence": "b", "frame": 0, **dict.fromkeys(told, "")}, walk(1)[0])]
    path = write_table(tmp_path / "walks.csv", rows)
    store = store_of(path, tmp_path)
    assert store.sequences[list(told)].iloc[0].to_dict() == told
    assert store.sequences[["subject", "condition"]].iloc[1].tolist() == ["b", "walk"]


def test_labels_beside_count_more_than_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "walks.npz"
    np.savez(path, joints=walk(4), start=[0, 2], length=[2, 2], subject=["x", "y"])
    labels = tmp_path / "labels.csv"
    labels.write_text("sequence,subject,split\n1,Ada,train\n")
    store = store_of(path, tmp_path, labels=labels)
    assert column(store, "subject") == ["x", "Ada"]
    assert column(store, "split") == ["", "train"]


def test_joints_are_found_by_name_in_any_order_and_others_are_left_out(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = [SDK.get(joint, joint) for joint in (*KINECT25.joints, "tail")]
    order = random.permutation(26)
    poses = walk(2, 26)
    path = tmp_path / "walk.npz"
    np.savez(path, walk=poses[:, order], joint_names=[names[i] for i in order])
    walks = read_walks(path)
    assert walks.skeleton == KINECT25
    np.testing.assert_array_equal(walks.poses, poses[:, :25])


@pytest.mark.parametrize("layout", [KINECT20, KINECT25, BODY14, COCO17])
def test_joints_without_names_are_told_by_their_number(layout: Skeleton, tmp_path: Path) -> None:
    np.save(tmp_path / "walk.npy", walk(2, layout.num_joints))
    assert skeleton_layout(tmp_path) == layout


def test_a_kinect_of_sdk_1_by_its_own_names(tmp_path: Path) -> None:
    names = ("Hip Centre", "Spine", "Shoulder-Center", "HEAD", *KINECT20.joints[4:])
    np.savez(tmp_path / "walk.npz", walk=walk(2), joint_names=names)
    assert skeleton_layout(tmp_path) == KINECT20


@pytest.mark.parametrize("gaps", ["join", "cut"])
def test_frames_that_are_not_whole_are_left_out_and_counted(gaps: str, tmp_path: Path) -> None:
    poses = walk(8)
    poses[2] = 0
    poses[5, 3, 1] = np.nan
    poses[6, 0, 0] = np.inf
    poses[1, 4] = 0  # one joint at the origin is no fault
    np.savez(tmp_path / "walks.npz", a=poses, b=np.zeros_like(poses), c=walk(2))
    store = store_of(tmp_path, tmp_path / "cache", Options(gaps=gaps))  # type: ignore[arg-type]
    np.testing.assert_array_equal(store.frames, np.concatenate((poses[[0, 1, 3, 4, 7]], walk(2))))
    if gaps == "join":
        assert column(store, "length") == [5, 2]
        assert column(store, "first_frame") == [0, 0]
        assert column(store, "last_frame") == [7, 1]
        assert column(store, "missing") == [3, 0]
    else:
        assert column(store, "length") == [2, 2, 1, 2]
        assert column(store, "first_frame") == [0, 3, 7, 0]
        assert column(store, "last_frame") == [1, 4, 7, 1]
        assert column(store, "missing") == [0, 0, 0, 0]
    assert store.sequences["dropped"].sum() == 3
    assert store.sequences["nobody"].sum() == 1
    skipped = (store.path / SKIPPED).read_text().splitlines()
    assert skipped[1:] == [",walks/b,is left out: none of its 8 frames has a whole body"]


def test_missing_and_lost_frames_of_a_table(tmp_path: Path) -> None:
    poses = walk(5)
    poses[1, 2] = np.nan
    rows = [({"frame": n}, pose) for n, pose in zip((10, 11, 12, 15, 16), poses, strict=True)]
    path = write_table(tmp_path / "walk.csv", rows)
    path.write_text(path.read_text().replace(",,,", ",nan,NaN,", 1))
    joined = store_of(path, tmp_path / "join")
    assert column(joined, "sequence") == ["walk"]
    assert (column(joined, "missing"), column(joined, "dropped")) == ([3], [1])
    assert (column(joined, "first_frame"), column(joined, "last_frame")) == ([10], [16])
    cut = store_of(path, tmp_path / "cut", Options(gaps="cut"))
    assert column(cut, "length") == [1, 1, 2]
    assert column(cut, "dropped") == [1, 0, 0]
    np.testing.assert_array_equal(cut.frames, joined.frames)


@pytest.mark.parametrize("up", AXES)
@pytest.mark.parametrize("units", METRES)
def test_axes_and_units(up: str, units: str, tmp_path: Path) -> None:
    """Somebody of 1.5 metres, half a metre to the right and two metres away."""
    right, high, away = 0.5, 1.5, 2.0
    files = {
        "y": (right, high, away),
        "-y": (right, -high, away),
        "z": (right, away, high),
        "-z": (right, -away, -high),
    }
    pose = np.array(files[up]) / METRES[units]
    np.save(tmp_path / "walk.npy", np.broadcast_to(pose, (2, 20, 3)))
    store = store_of(tmp_path, tmp_path / "cache", Options(units, up))  # type: ignore[arg-type]
    np.testing.assert_allclose(store.frames[0, 0], (right, high, away), rtol=1e-6)


def test_tools_offer_what_the_reader_takes() -> None:
    for name, choices in OWN3D.items():
        literal = skeletons.__dict__[name.capitalize()]
        assert tuple(choices) == get_args(literal)
    assert tuple(METRES) == get_args(skeletons.Units)
    assert tuple(AXES) == get_args(skeletons.Up)


def arrays(**more: Any) -> dict[str, Any]:
    """One file of two sequences, with something in place of what belongs there."""
    whole = {"joints": walk(6), "start": [0, 3], "length": [3, 3], "subject": [1, 2]}
    return {name: value for name, value in (whole | more).items() if value is not None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"a": walk(2, 19)},
            r"array 'a': has skeletons of 19 joints without names, expected 17 \(",
        ),
        ({"a": walk(2), "b": walk(2, 25)}, "array 'b' is of kinect25, the first of kinect20"),
        ({"a": walk(2)[..., :2]}, r"array 'a': has shape \(2, 20, 2\), expected \(T, V, 3\)"),
        ({"a": walk(2).astype(str)}, "array 'a': holds <U32 values, expected numbers"),
        ({"fps": 25.0}, r"holds no array of shape \(T, V, 3\)"),
        (
            {"a": walk(2), "joint_names": ["skull", *KINECT20.joints[1:]]},
            r"array 'a': has no joint named hip_center \(and lacks 0 more of kinect20\), it names "
            "skull, spine,",
        ),
        (
            {"a": walk(2), "joint_names": KINECT20.joints[:19]},
            "array 'a': names 19 joints, its skeletons have 20",
        ),
        (
            {"a": walk(2), "joint_names": [*KINECT20.joints[:19], " HEAD"]},
            "array 'a': names the joint head several times",
        ),
        (arrays(start=None), "has joints and no array 'start' of whole numbers"),
        (arrays(length=[3.0, 3.0]), "has joints and no array 'length' of whole numbers"),
        (arrays(length=[3]), "has joints and no array 'length' of whole numbers"),
        (
            arrays(length=[3, 4]),
            "has start 3 and length 4 for sequence 1, joints has 6 frames",
        ),
        (
            arrays(start=[0, 2**62], length=[6, 2**62]),
            f"has start {2**62} and length {2**62} for sequence 1, joints has 6 frames",
        ),
        (arrays(length=[3, 2]), "has 1 frames in joints that no start and length name"),
        (
            arrays(subject=[1]),
            r"has subject of shape \(1,\) and type int64, expected 2 names or whole numbers",
        ),
        (arrays(subject=[1.5, 2]), "has subject of shape .* type float64"),
        (arrays(seq=["a", "2"]), "sequence '0': number is 'a', expected a whole number"),
        (arrays(sequence=["a", "a"]), "has several sequences named 'a'"),
    ],
)
def test_what_is_wrong_with_arrays_is_named(
    content: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "walks.npz"
    np.savez(path, **content)
    with pytest.raises(InputError, match=f"^{path} {message}"):
        read_walks(path)


def table(tmp_path: Path, *rows: dict[str, Any], **more: Any) -> Path:
    poses = walk(len(rows))
    return write_table(tmp_path / "walks.csv", list(zip(rows, poses, strict=True)), **more)


def test_what_is_wrong_with_tables_is_named(tmp_path: Path) -> None:
    def told(*rows: dict[str, Any], **more: Any) -> str:
        path = table(tmp_path, *rows, **more)
        return complaint(path)

    def complaint(path: Path) -> str:
        with pytest.raises(InputError) as caught:
            read_walks(path)
        assert "\n" not in str(caught.value)
        return str(caught.value).removeprefix(f"{path} ")

    a = {"sequence": "a"}
    said = told({**a, "frame": 3}, {**a, "frame": 4}, {**a, "frame": 2})
    assert said.startswith(
        "row 3: frame 2 of sequence 'a' comes after frame 4, expected numbers that grow"
    )
    # two bodies in a frame
    assert "row 2: frame 3 of sequence 'a' comes after frame 3" in told(
        {**a, "frame": 3}, {**a, "frame": 3}
    )
    assert "row 2: subject of sequence 'a' is 'Bo', before it was 'Ada'" in told(
        {**a, "frame": 0, "subject": "Ada"}, {**a, "frame": 1, "subject": "Bo"}
    )
    assert "sequence 'a': view is 'left', expected a whole number" in told(
        {**a, "frame": 0, "view": "left"}
    )
    assert "line 1: there is no column frame" in told(a)
    assert "line 2: frame is '0.5', expected a whole number" in told({**a, "frame": 0.5})
    assert "line 3: frame is '', expected a whole number" in told(
        {**a, "frame": 0}, {**a, "frame": ""}
    )
    assert "has no joint named hip_center" in told(
        {**a, "frame": 0}, joints=("skull", *KINECT20.joints[1:])
    )
    path = table(tmp_path, {"frame": 0}, {"frame": 1})
    whole = path.read_text().splitlines()
    path.write_text("\n".join([*whole[:2], whole[2].rsplit(",", 1)[0]]))
    assert complaint(path).startswith("line 3 has 60 values, line 1 has 61")
    path.write_text("\n".join([whole[0], "x".join(whole[1].rsplit(".", 1)), whole[2]]))
    assert "expected a number, or nothing where it is lost" in complaint(path)
    path.write_text("\n".join([whole[0].replace("head_y", "head_u"), *whole[1:]]))
    assert "line 1: there is no column head_y" in complaint(path)
    path.write_text("\n".join([whole[0].replace("head_y", "head_x"), *whole[1:]]))
    assert "line 1: the column head_x comes several times" in complaint(path)
    path.write_text(whole[0])
    assert "has no row below its header" in complaint(path)
    path.write_text("frame,head\n0,1\n")
    assert "has no columns like head_x, head_y and head_z, nor is it npz, npy or CSV" in complaint(
        path
    )
    path.write_bytes(b"\xff\xfe\x00")
    assert "is no table, expected npz, npy or CSV of 3D joints" in complaint(path)
    path.write_bytes(b"")
    assert "is an empty file" in complaint(path)


def test_what_cannot_be_a_source_is_named(tmp_path: Path) -> None:
    source, cache = tmp_path / "src", tmp_path / "cache"
    assert "does not exist; name a file of 3D skeletons or a folder" in refused(source, cache)
    source.mkdir()
    assert "holds no file of 3D skeletons" in refused(source, cache)
    (source / "walk.json").write_text("{}")
    assert "it holds walk.json; name the folder that does" in refused(source, cache)
    np.save(source / "b.npy", walk(2))
    np.save(source / "c.npy", walk(2, 25))
    assert f"{source / 'c.npy'} holds skeletons of kinect25, other files of" in refused(
        source, cache
    )
    (source / "c.npy").unlink()
    np.savez(source / "b.npz", walk=walk(2))
    assert "has b.npy and b.npz, whose sequences would have the same name" in refused(source, cache)
    (source / "b.npz").unlink()
    np.save(source / "b.npy", np.zeros((3, 20, 3)))
    assert "there is no frame to read" in refused(source, cache)
    (source / "b.npy").write_bytes(b"\x93NUMPY")
    assert "is a truncated or damaged numpy file" in refused(source, cache)
    np.save(source / "b.npy", np.array([{}]), allow_pickle=True)
    assert "holds pickled objects, which are not opened" in refused(source, cache)


def test_a_change_of_a_file_or_of_labels_is_noticed(tmp_path: Path) -> None:
    path, labels = tmp_path / "walk.npy", tmp_path / "labels.csv"
    np.save(path, walk(2))
    labels.write_text("sequence,subject\nwalk,Ada\n")
    before = {skeletons_fingerprint(path, None), skeletons_fingerprint(path, labels)}
    labels.write_text("sequence,subject\nwalk,Bo\n")
    before.add(skeletons_fingerprint(path, labels))
    np.save(path, walk(3))
    assert len(before | {skeletons_fingerprint(path, None)}) == 4
