"""Files of each format, written here from what their programs' documentation says of them."""

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.readers.keypoint_files import LAYOUTS, WALKER, place, places, read_people
from gaitbench.skeleton import COCO17, OPENPOSE18

Poses = NDArray[np.float32]


def draw(frames: int, joints: int, seed: int = 0) -> Poses:
    """(T, V, 3) numbers of three digits, which every format holds exactly."""
    random = np.random.default_rng(seed)
    poses = random.integers(1, 1000, (frames, joints, 3)).astype(np.float32)
    poses[..., 2] /= 1024
    return poses


def flat(pose: Poses) -> list[float]:
    return [float(v) for v in pose.ravel()]


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def halves(pose: Poses) -> dict[str, Any]:
    """A person as MMPose writes them."""
    return {
        "keypoints": pose[:, :2].astype(float).tolist(),
        "keypoint_scores": pose[:, 2].astype(float).tolist(),
        "bbox": [[0.0, 0.0, 9.0, 9.0]],
        "bbox_score": 0.9,
    }


def coco_results(folder: Path, poses: Poses) -> Path:
    return write(
        folder / "walk.json",
        [
            {"image_id": i, "category_id": 1, "keypoints": flat(pose), "score": 0.9}
            for i, pose in enumerate(poses)
        ],
    )


def alphapose(folder: Path, poses: Poses) -> Path:
    return write(
        folder / "walk.json",
        [
            {
                "image_id": f"{i}.jpg",
                "category_id": 1,
                "keypoints": flat(pose),
                "score": 2.5,
                "box": [0, 0, 9, 9],
                "idx": [0.0],
            }
            for i, pose in enumerate(poses)
        ],
    )


def alphapose_open(folder: Path, poses: Poses) -> Path:
    return write(
        folder / "walk.json",
        {
            f"{i}.jpg": {"version": "", "people": [{"pose_keypoints_2d": flat(pose)}]}
            for i, pose in enumerate(poses)
        },
    )


def alphapose_cmu(folder: Path, poses: Poses) -> Path:
    return write(
        folder / "walk.json",
        {
            f"{i}.jpg": {"version": "", "bodies": [{"joints": flat(pose)}]}
            for i, pose in enumerate(poses)
        },
    )


def coco_dataset(folder: Path, poses: Poses) -> Path:
    return write(
        folder / "walk.json",
        {
            "info": {},
            "images": [{"id": 70 + i, "file_name": f"a/{i:06d}.jpg"} for i in range(len(poses))],
            "annotations": [
                {"id": i, "image_id": 70 + i, "iscrowd": 0, "keypoints": flat(pose)}
                for i, pose in enumerate(poses)
            ]
            + [
                {"id": 98, "image_id": 70, "iscrowd": 0, "keypoints": [0] * 51},
                {"id": 99, "image_id": 70, "iscrowd": 1, "keypoints": flat(poses[0])},
            ],
            "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.joints)}],
        },
    )


def mmpose_demo(folder: Path, poses: Poses) -> Path:
    frames = [{"frame_id": i, "instances": [halves(pose)]} for i, pose in enumerate(poses)]
    frames.append({"frame_id": len(poses), "instances": []})
    return write(folder / "walk.json", {"meta_info": {}, "instance_info": frames})


def mmpose_inferencer(folder: Path, poses: Poses) -> Path:
    frames = [{"frame_id": i, "instances": [halves(pose)]} for i, pose in enumerate(poses)]
    return write(folder / "walk.json", frames)


def npy(folder: Path, poses: Poses) -> Path:
    np.save(folder / "walk.npy", poses)
    return folder / "walk.npy"


def npz(folder: Path, poses: Poses) -> Path:
    np.savez(folder / "walk.npz", keypoints=poses.astype(np.float64))
    return folder / "walk.npz"


def npz_scores(folder: Path, poses: Poses) -> Path:
    np.savez(folder / "walk.npz", keypoints=poses[..., :2], keypoint_scores=poses[..., 2])
    return folder / "walk.npz"


ANY_COUNT = [coco_results, alphapose, mmpose_demo, mmpose_inferencer, npy, npz, npz_scores]
WRITERS: list[tuple[Callable[[Path, Poses], Path], int]] = [
    *((writer, count) for writer in ANY_COUNT for count in LAYOUTS),
    (coco_dataset, 17),
    (alphapose_open, 18),
    (alphapose_cmu, 18),
]


@pytest.mark.parametrize(("writer", "count"), WRITERS)
def test_every_format_gives_the_poses_that_were_written(
    writer: Callable[[Path, Poses], Path], count: int, tmp_path: Path
) -> None:
    poses = draw(4, count)
    people = read_people(writer(tmp_path, poses))
    _, skeleton, picked = LAYOUTS[count]
    assert people.skeleton == skeleton
    assert not people.is_frame
    assert people.poses.dtype == np.float32
    np.testing.assert_array_equal(people.poses, poses[:, list(picked)])
    assert people.frame.tolist() == [0, 1, 2, 3]
    assert set(people.video) <= {"", "a"}
    known = {alphapose: "0", npy: WALKER, npz: WALKER, npz_scores: WALKER}
    assert set(people.track) == {known.get(writer, "")}


def test_layouts_keep_the_joints_of_the_same_name() -> None:
    """BODY_25 as OpenPose documents it; all others begin with our layouts."""
    body25 = [
        *("Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist"),
        *("MidHip", "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "REye", "LEye", "REar"),
        *("LEar", "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
    ]
    short = {
        joint: joint.replace("left_", "L").replace("right_", "R") for joint in OPENPOSE18.joints
    }
    names = [short[joint].lower() for joint in OPENPOSE18.joints]
    assert [body25[i].lower() for i in LAYOUTS[25][2]] == names
    for count, (_, skeleton, picked) in LAYOUTS.items():
        assert len(picked) == skeleton.num_joints
        if count != 25:
            assert picked == tuple(range(skeleton.num_joints))


@pytest.mark.parametrize("key", ["pose_keypoints_2d", "pose_keypoints"])
def test_openpose_files_are_frames(key: str, tmp_path: Path) -> None:
    poses = draw(2, 25)
    people = [{"person_id": [-1], key: flat(pose), "face_keypoints_2d": []} for pose in poses]
    found = read_people(write(tmp_path / "a.json", {"version": 1.3, "people": people}))
    assert found.is_frame
    np.testing.assert_array_equal(found.poses, poses[:, list(LAYOUTS[25][2])])
    assert found.track.tolist() == ["", ""]
    empty = read_people(write(tmp_path / "b.json", {"version": 1.3, "people": []}))
    assert empty.is_frame
    assert empty.skeleton is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (12345678, "12345678"),
        (3.0, "3"),
        ([7.0], "7"),
        ([], ""),
        (-1, ""),
        ("left", "left"),
        (None, ""),
    ],
)
def test_trackers_write_numbers_in_many_ways(written: Any, expected: str, tmp_path: Path) -> None:
    content = [{"image_id": 0, "keypoints": flat(draw(1, 17)[0]), "idx": written}]
    assert read_people(write(tmp_path / "a.json", content)).track.tolist() == [expected]


def test_mmpose_images_are_frames(tmp_path: Path) -> None:
    """Those of the inferencer, and those of the demos for an image."""
    poses = draw(2, 133)
    people = [halves(pose) for pose in poses]
    for name, content in (("a", people), ("b", {"meta_info": {}, "instance_info": people})):
        found = read_people(write(tmp_path / f"{name}.json", content))
        assert found.is_frame
        np.testing.assert_array_equal(found.poses, poses[:, :17])


def test_joints_are_found_by_their_names_where_they_have_some(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(17)
    poses = draw(3, 17)
    names = {str(i): COCO17.joints[j] for i, j in enumerate(order)}
    content = {
        "meta_info": {"keypoint_id2name": names},
        "instance_info": [
            {"frame_id": i, "instances": [halves(pose[order])]} for i, pose in enumerate(poses)
        ],
    }
    np.testing.assert_array_equal(read_people(write(tmp_path / "a.json", content)).poses, poses)
    content["meta_info"]["keypoint_id2name"]["4"] = "tail"  # type: ignore[index, call-overload]
    with pytest.raises(InputError, match=f"no joint named {COCO17.joints[order[4]]}"):
        read_people(write(tmp_path / "a.json", content))


def test_visibility_of_annotators_becomes_confidence(tmp_path: Path) -> None:
    poses = draw(2, 17)
    poses[..., 2] = np.arange(34).reshape(2, 17) % 3
    found = read_people(coco_dataset(tmp_path, poses))
    np.testing.assert_array_equal(found.poses[..., 2], poses[..., 2] / 2)


def test_coco_videos_and_tracks_are_told_apart(tmp_path: Path) -> None:
    poses = draw(4, 17)
    content = {
        "videos": [{"id": 1, "name": "street"}, {"id": 2, "name": "hall"}],
        "images": [
            {"id": 10, "video_id": 2, "frame_id": 5, "file_name": "x.jpg"},
            {"id": 11, "video_id": 1, "frame_id": 7, "file_name": "y.jpg"},
        ],
        "annotations": [
            {"image_id": 10, "keypoints": flat(poses[0]), "track_id": 3},
            {"image_id": 10, "keypoints": flat(poses[1]), "track_id": 4},
            {"image_id": 11, "keypoints": flat(poses[2]), "attributes": {"track_id": 3}},
            {"image_id": 11, "keypoints": flat(poses[3])},
        ],
    }
    found = read_people(write(tmp_path / "a.json", content))
    assert found.video.tolist() == ["hall", "hall", "street", "street"]
    assert found.frame.tolist() == [5, 5, 7, 7]
    assert found.track.tolist() == ["3", "4", "3", ""]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("./001-nm-01-090/000012.jpg", ("001-nm-01-090", 12)),
        ("12.jpg", ("", 12)),
        ("walk_000000000012_keypoints.json", ("walk", 12)),
        ("a/b/frame_0007.png", ("a/b", 7)),
        (r"videos\walk1-0003.jpg", ("videos/walk1", 3)),
        ("left_0003_rendered.png", ("left", 3)),
        ("0003_left.png", ("left", 3)),
        ("a/last.jpg", ("a", None)),
        ("", ("", None)),
    ],
)
def test_names_of_images_tell_video_and_frame(name: str, expected: tuple[str, int | None]) -> None:
    assert place(name) == expected


def test_images_without_numbers_are_in_the_order_of_their_names() -> None:
    assert places([r"a\v\b.jpg", r"a\v\a.jpg"]) == [("a/v", 1), ("a/v", 0)]
    assert places([r"a\v\b.jpg", r"a\v\a.jpg"]) == [("a/v", 1), ("a/v", 0)]
    assert places(["v/b.jpg", "v/a.jpg", "v/c1.jpg", "v/b.jpg"]) == [
        ("v", 1),
        ("v", 0),
        ("v", 2),
        ("v", 1),
    ]


def table(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    lines = [",".join(map(str, row)) for row in [header, *rows]]
    content = "\r\n".join(lines).encode("utf-8-sig")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def columns(joints: tuple[str, ...], confidence: str = "conf") -> list[str]:
    return [f"{joint}_{axis}" for joint in joints for axis in ("x", "y", confidence)]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_casia_b_tables_are_read(name: str, tmp_path: Path) -> None:
    poses = draw(3, 17)
    images = ["./001-nm-01-090/000002.jpg", "./001-nm-01-090/000003.jpg", "x/002-cl-02-000/1.jpg"]
    rows = [[image, *flat(pose)] for image, pose in zip(images, poses, strict=True)]
    found = read_people(table(tmp_path / name, ["image_name", *columns(COCO17.joints)], rows))
    np.testing.assert_array_equal(found.poses, poses)
    assert found.video.tolist() == ["001-nm-01-090", "001-nm-01-090", "x/002-cl-02-000"]
    assert found.frame.tolist() == [2, 3, 1]


def test_long_tables_are_read_in_any_order_of_columns(tmp_path: Path) -> None:
    poses = draw(2, 18)
    order = np.random.default_rng(1).permutation(18)
    header = columns(tuple(OPENPOSE18.joints[j] for j in order), "confidence")
    rows = [[*flat(pose[order]), "walk", 7 + i, 4, "unknown"] for i, pose in enumerate(poses)]
    found = read_people(
        table(tmp_path / "a.csv", [*header, "sequence", "frame", "track", "weather"], rows)
    )
    assert found.skeleton == OPENPOSE18
    np.testing.assert_array_equal(found.poses, poses)
    assert found.video.tolist() == ["walk", "walk"]
    assert found.frame.tolist() == [7, 8]
    assert found.track.tolist() == ["4", "4"]


def test_npz_holds_a_sequence_a_key(tmp_path: Path) -> None:
    one, two = draw(3, 17), draw(2, 26, seed=1)
    one[1, :, 2] = 0  # nobody in this frame
    np.savez(tmp_path / "a.npz", one=one, two=two[..., :2], two_scores=two[..., 2])
    found = read_people(tmp_path / "a.npz")
    assert found.video.tolist() == ["one", "one", "two", "two"]
    assert found.frame.tolist() == [0, 2, 0, 1]
    np.testing.assert_array_equal(found.poses[2:], two[:, :17])


def bad_pose(value: Any) -> list[Any]:
    return [*flat(draw(1, 17)[0])[:50], value]


BROKEN: list[tuple[Any, str]] = [
    ("{", "is truncated or no JSON .line 1"),
    ('[{"image_id": 1,\n "keypoints": [NaN, 1, 1]}]', "has NaN or Infinity in line 2"),
    ({}, ""),
    ({"a": 1}, "is JSON of no known format"),
    ([1], "is JSON of no known format"),
    ([{"image_id": 1, "bbox": []}], "has no list of keypoints for person 1, or not a score for"),
    ({"images": [], "annotations": [{"image_id": 3, "keypoints": [1, 1, 1]}]}, "no known format"),
    ({"categories": [{"keypoints": 1.5}], "images": [], "annotations": []}, "no known format"),
    ([{"image_id": 1, "keypoints": [1.0] * 48}], "poses of 16 joints, expected 17 .COCO., 18"),
    ([{"image_id": 1, "keypoints": [1.0] * 50}], "has 50 values a person, expected x, y and conf"),
    (
        [{"image_id": 1, "keypoints": [1] * n} for n in (51, 51, 54)],
        "has 54 values for person 3, 51 for person 1",
    ),
    ([{"image_id": 1, "keypoints": bad_pose("1")}], "has '1' for person 1, expected numbers"),
    ([{"image_id": 1, "keypoints": bad_pose(None)}], "has None for person 1, expected numbers"),
    ([{"image_id": 1, "keypoints": bad_pose(1e300)}], "inf as confidence of right_ankle in person"),
    ([{"image_id": i, "keypoints": bad_pose(1)} for i in (1, None)], "image of some people and no"),
    ({"people": [{"pose_keypoints_2d": [1] * 3}]}, "has poses of 1 joints"),
    (
        [{"frame_id": 0, "instances": [{"keypoints": [[1, 2, 3]], "keypoint_scores": [1]}]}],
        "or not a score for each",
    ),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_broken_json_is_named(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "walk.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    if not message:
        assert not len(read_people(path).frame)
        return
    with pytest.raises(InputError, match=message) as caught:
        read_people(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


HEADER = ["sequence", "frame", *columns(COCO17.joints)]
ROW = ["a", 1, *[1] * 51]
TABLES: list[tuple[list[str], list[list[Any]], str]] = [
    (["a", "b"], [[1, 2]], "has no columns like nose_x"),
    (HEADER[:-1], [ROW[:-1]], "line 1: there is no column right_ankle_confidence"),
    (HEADER[2:], [ROW[2:]], "neither a column image_name nor a column frame"),
    ([*HEADER, "nose_x"], [[*ROW, 1]], "line 1: the column nose_x comes several times"),
    (HEADER[:-3], [ROW[:-3]], "no joint named right_ankle .and lacks 0 more of coco17."),
    (HEADER, [], "has no row below its header"),
    (HEADER, [ROW, ROW[:-1]], "line 3 has 52 values, line 1 has 53"),
    (HEADER, [ROW, ["a", "x", *ROW[2:]]], "line 3: frame is 'x', expected a whole number"),
    (HEADER, [ROW, [*ROW[:-1], ""]], "line 3: right_ankle_conf is '', expected a finite"),
    (HEADER, [ROW, [*ROW[:-1], "nan"]], "line 3: right_ankle_conf is 'nan', expected a finite"),
]


@pytest.mark.parametrize(("header", "rows", "message"), TABLES)
def test_broken_tables_are_named(
    header: list[str], rows: list[list[Any]], message: str, tmp_path: Path
) -> None:
    path = table(tmp_path / "walk.csv", header, rows)
    with pytest.raises(InputError, match=message) as caught:
        read_people(path)
    assert str(caught.value).startswith(str(path))


def test_broken_arrays_are_named(tmp_path: Path) -> None:
    poses = draw(3, 17)
    poses[2, 5, 1] = math.nan
    path = tmp_path / "a.npy"
    for array, message in (
        (poses, "has nan as y of left_shoulder in frame 2"),
        (draw(3, 16), "has poses of 16 joints"),
        (poses[..., :2], "has x and y alone"),
        (poses[0], "has shape .17, 3., expected .T, V, 3."),
        (poses.astype("U9"), "holds <U9 values, expected numbers"),
        (np.array([None]), "holds pickled objects, which are not opened"),
    ):
        np.save(path, array, allow_pickle=True)
        with pytest.raises(InputError, match=message):
            read_people(path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError, match="truncated or damaged numpy file"):
        read_people(path)
    np.savez(tmp_path / "b.npz", one=draw(2, 17), two=draw(2, 18))
    with pytest.raises(InputError, match="array 'two': is of openpose18, the first array of coco"):
        read_people(tmp_path / "b.npz")
    (tmp_path / "c.npy").write_bytes(b"")
    with pytest.raises(InputError, match="is an empty file"):
        read_people(tmp_path / "c.npy")
    (tmp_path / "d.mp4").write_bytes(b"\x00\xff\xfe\x80" * 9)
    with pytest.raises(InputError, match="neither JSON nor a table, expected COCO, OpenPose"):
        read_people(tmp_path / "d.mp4")
    with pytest.raises(InputError, match="No such file"):
        read_people(tmp_path / "e.json")
    (tmp_path / "f.csv.gz").write_bytes(gzip.compress(b"a,b\n" * 99)[:-9])
    with pytest.raises(InputError, match="truncated or damaged gzip"):
        read_people(tmp_path / "f.csv.gz")


WORDS = (
    *("people", "annotations", "images", "videos", "categories", "instance_info", "meta_info"),
    *("keypoint_id2name", "instances", "frame_id", "image_id", "keypoints", "keypoint_scores"),
    *("pose_keypoints_2d", "joints", "bodies", "idx", "track_id", "person_id", "attributes"),
    *("id", "file_name", "video_id", "iscrowd", "name", "0.jpg"),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(("", "nose", "0.jpg")),
    st.just([1.0] * 51),
    st.just([[1.0, 2.0]] * 17),
    st.just([1.0] * 17),
)
JSON = st.recursive(
    VALUES,
    lambda part: st.one_of(
        st.lists(part, max_size=3), st.dictionaries(st.sampled_from(WORDS), part, max_size=5)
    ),
    max_leaves=25,
)


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=JSON)
def test_any_json_is_read_or_refused(content: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "any.json", content)
    try:
        people = read_people(path)
    except InputError as error:
        assert str(error).startswith(f"{path} ")
    else:
        assert len({*map(len, people[:4])}) == 1
        assert np.isfinite(people.poses).all()


def test_numbers_that_are_signals_are_refused(tmp_path: Path) -> None:
    """A NaN that raises a flag where it is made single."""
    poses = draw(2, 17).astype(np.float64)
    poses.view(np.uint64)[1, 3, 0] = 0x7FF0000000000001
    np.save(tmp_path / "walk.npy", poses)
    with pytest.raises(InputError, match="has nan as x of "):
        read_people(tmp_path / "walk.npy")
    single = np.ones((2, 17, 2), np.float32)
    single.view(np.uint32)[1, 3, 0] = 0x7F800001
    whole = {"keypoints": single, "keypoint_scores": np.ones((2, 17), np.int32)}
    np.savez(tmp_path / "walk.npz", **whole)
    with pytest.raises(InputError, match="has nan as x of "):
        read_people(tmp_path / "walk.npz")
