import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from gaitbench.__main__ import run
from gaitbench.errors import InputError
from gaitbench.readers.keypoints import Label
from gaitbench.report import data_report
from gaitbench.store import SequenceStore
from gaitbench.video import extraction
from gaitbench.video.extraction import Extraction, Source, read_boxes, read_video
from gaitbench.video.flow import flow_method, gray
from gaitbench.video.frames import flow_frame, gray_frame
from gaitbench.video.people import background
from tests.video.films import HEIGHT, SPEED, WIDTH, place, room, walk, write

WHOLE = [f for f in range(90) if place(f)[0] >= 2 and place(f)[2] <= WIDTH - 2]
"""Frames of a walk in which the walker is whole and touches no border."""


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """Two walks, one in a folder, and an empty room."""
    folder = tmp_path_factory.mktemp("films")
    write(folder / "001-nm-01-090.avi", walk())
    write(folder / "more" / "two.avi", walk(seed=5))
    write(folder / "more" / "nobody.avi", [room()] * 30)
    return folder


def extract(out: Path, *words: object) -> SequenceStore:
    assert run(["extract", "video", *map(str, words), "--out", str(out)]) == 0
    return SequenceStore.open(out)


@pytest.fixture(scope="module")
def store(films, tmp_path_factory) -> SequenceStore:
    return extract(tmp_path_factory.mktemp("out") / "store", films)


def test_everybody_is_found_where_they_are(store):
    table = store.sequences
    assert table["sequence"].tolist() == ["001-nm-01-090#1", "more/two#1"]
    assert table["subject"].tolist() == ["001", "more/two#1"]
    assert table["condition"].tolist() == ["nm", "walk"]
    assert table["view"].tolist() == [90, 0]
    assert set(table["width"]) == {WIDTH}
    assert set(table["fps"]) == {25}
    assert (table[["missing", "others"]] == 0).all(axis=None)
    for row in table.itertuples():
        assert abs(row.first_frame - WHOLE[0]) <= 1
        assert abs(row.last_frame - WHOLE[-1]) <= 1
        assert row.length == row.last_frame - row.first_frame  # the last frame has no flow
        boxes = store.gather(np.array([row.Index]), np.arange(row.length)[None], "boxes")[0]
        expected = [place(row.first_frame + i) for i in range(row.length)]
        np.testing.assert_allclose(boxes, expected, atol=2)


def test_arrays_are_of_the_frames_named(store):
    frames = walk()
    row = store.sequences.iloc[0]
    find = flow_method("dis")
    for i in (0, 7, int(row["length"]) - 1):
        number, at = row["first_frame"] + i, row["start"] + i
        expected = gray_frame(gray(frames[number]))
        np.testing.assert_array_equal(store.arrays["gray"][at], expected)
        flow = flow_frame(find(frames[number], frames[number + 1]))
        np.testing.assert_array_equal(store.arrays["flow"][at], flow)
        x0, y0, x1, y1 = np.array(place(number)) * np.tile([80 / WIDTH, 60 / HEIGHT], 2)
        inside = flow[int(y0) + 8 : int(y1) - 8, int(x0) + 4 : int(x1) - 4, 0]
        assert abs(np.median(inside) - 100 * SPEED) < 20
        silhouette = store.arrays["silhouette"][at] > 127
        y, x = np.mgrid[:64, :64] - 31.5
        oval = (x / (32 * 24 / 60)) ** 2 + (y / 32) ** 2 <= 1
        assert (silhouette ^ oval).mean() < 0.06


def test_the_store_says_how_it_was_made(store, capsys):
    assert store.info.kind == "video"
    assert store.info.settings["flow"] == "dis"
    assert store.info.settings["flow_steps"] == 100
    assert [*store.arrays] == ["gray", "flow", "silhouette", "boxes"]
    report = data_report(store)
    assert report.sequences == 2
    assert report.skipped_first[0].endswith(
        "shows nobody in 25 frames without a break; leave it out, or say with --boxes where "
        "people are (sequences saved: 0)"
    )


def test_a_finished_store_is_opened_and_another_state_replaces_it(films, tmp_path, caplog):
    out = tmp_path / "store"
    words = (films / "more" / "two.avi", "--modality", "silhouette")
    first = extract(out, *words)
    assert [*first.arrays] == ["silhouette", "boxes"]
    before = (out / "store.json").stat().st_mtime_ns
    extract(out, *words)
    assert (out / "store.json").stat().st_mtime_ns == before
    other = extract(out, films / "more" / "two.avi", "--modality", "gray")
    assert [*other.arrays] == ["gray", "boxes"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".store.lock", "store"]


def test_a_folder_of_something_else_is_left_alone(films, tmp_path, refused):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    film = str(films / "more" / "two.avi")
    sentence = refused(["extract", "video", film, "--out", str(tmp_path / "mine")])
    assert "mine is there and holds something else; name a new folder" in sentence
    assert (tmp_path / "mine" / "file").exists()


def test_boxes_that_the_user_gives(films, tmp_path):
    lines = ["frame,track,x0,y0,x1,y1,video"]
    for frame in range(30, 70):
        if frame not in (40, 41):
            lines.append(",".join(map(str, (frame, "a", *place(frame), "001-nm-01-090"))))
        lines.append(f"{frame},b,1,2,30,40,001-nm-01-090")
    lines.append("5,c,0,0,9,9,else")
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    source = Source(films / "001-nm-01-090.avi", "001-nm-01-090", None, tmp_path / "boxes.csv")
    part = read_video(source, Extraction(("gray", "silhouette")))
    assert part.sequences["length"].tolist() == [39, 39]
    assert part.sequences["first_frame"].tolist() == [30, 30]
    assert part.sequences["missing"].tolist() == [2, 0]
    assert isinstance(part.frames, dict)
    expected = [place(frame) for frame in range(30, 69)]
    np.testing.assert_array_equal(part.frames["boxes"][:39], expected)
    assert (part.frames["silhouette"][:39] > 127).mean(axis=(1, 2)).min() > 0.2
    assert part.frames["gray"].shape == (78, 60, 80)
    one = read_video(source._replace(label=Label("7")), Extraction(("gray",)))
    assert one.sequences["subject"].tolist() == ["7"]
    assert one.sequences["others"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("frame,x0,y0,x1,y1\n1,2,3,4,5", "has the columns frame, x0, y0, x1, y1, expected frame"),
        ("frame,track,x0,y0,x1,y1\n1,1,2,3,4,5\n2,1,9,3,4,5", r"line 3: x1 is 4"),
        ("frame,track,x0,y0,x1,y1\n1.5,1,2,3,4,5", r"line 2: frame is 1.5"),
        ("frame,track,x0,y0,x1,y1\n1,1,2,3,4,5\n1,1,2,3,4,6", "track 1 has frame 1 twice"),
        ("", "is no table of boxes"),
    ],
)
def test_bad_boxes_are_one_sentence(tmp_path, text, fault):
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(InputError, match=fault):
        read_boxes(tmp_path / "boxes.csv", "a")


def test_a_background_that_the_user_gives(films, tmp_path, refused):
    standing = [*walk()[40:41] * 30, *walk()[40:60]]  # stands for most of the time
    film = write(tmp_path / "standing.avi", standing)
    source = Source(film, "standing", None, None, films / "more" / "nobody.avi")
    part = read_video(source, Extraction(("silhouette",)))
    assert part.sequences["last_frame"].tolist() == [49]
    np.testing.assert_allclose(part.frames["boxes"][0], place(40), atol=2)
    small = write(tmp_path / "small.avi", [room(0, 48, 64)])
    words = [
        "extract",
        "video",
        str(film),
        "--background",
        str(small),
        "--out",
        str(tmp_path / "o"),
    ]
    assert "has 128x96 pixels, its background" in refused(words)


def test_a_background_is_worked_out_once_until_its_file_changes(films, tmp_path, monkeypatch):
    worked_out = []

    def counted(samples: np.ndarray) -> np.ndarray:
        worked_out.append(samples)
        return background(samples)

    monkeypatch.setattr(extraction, "background", counted)
    empty = write(tmp_path / "empty.avi", [room()] * 30)
    source = Source(films / "001-nm-01-090.avi", "a", None, None, empty)
    boxes = [
        read_video(source._replace(name=name), Extraction(("silhouette",))).frames["boxes"]
        for name in "ab"
    ]
    assert len(worked_out) == 1
    np.testing.assert_array_equal(boxes[0], boxes[1])
    write(empty, walk()[40:41] * 30)
    os.utime(empty, ns=(0, 0))
    changed = read_video(source, Extraction(("silhouette",))).frames["boxes"]
    assert len(worked_out) == 2
    assert changed.shape != boxes[0].shape or (changed != boxes[0]).any()


def test_faults_are_listed_and_the_rest_is_kept(films, tmp_path, caplog):
    cut = tmp_path / "cut.avi"
    whole = (films / "001-nm-01-090.avi").read_bytes()
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    (tmp_path / "empty.avi").touch()
    with caplog.at_level(logging.WARNING):
        store = extract(tmp_path / "store", tmp_path, "--modality", "gray")
    assert store.sequences["sequence"].tolist() == ["cut#1"]
    fault = store.sequences["fault"][0]
    assert fault.startswith("is cut: it holds ")
    listing = (store.path / "skipped.csv").read_text()
    assert f"{fault} (sequences saved: 1)" in listing
    assert "cannot be opened as a video" in listing
    told = "2 videos: faults in 2, listed in skipped.csv; the first: "
    assert any(told in message for message in caplog.messages)
    assert json.loads((store.path / "store.json").read_text())["num_sequences"] == 1


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--modality", "gray,depth"], "--modality depth is unknown"),
        (["--flow", "spynet"], "--flow spynet needs --weights FILE"),
    ],
)
def test_wrong_words(films, tmp_path, capsys, words, fault):
    words = ["extract", "video", str(films / "more" / "two.avi"), "--out", str(tmp_path), *words]
    try:
        assert run(words) == 2
    except SystemExit as stopped:
        assert stopped.code == 2
    assert fault in capsys.readouterr().err


def test_nobody_and_nothing_are_one_sentence(films, tmp_path, refused):
    out = ["--out", str(tmp_path / "store")]
    nobody = str(films / "more" / "nobody.avi")
    assert "nobody.avi shows nobody in 25 frames" in refused(["extract", "video", nobody, *out])
    (tmp_path / "folder").mkdir()
    assert "holds no video" in refused(["extract", "video", str(tmp_path / "folder"), *out])
    twice = [nobody, str(write(tmp_path / "other" / "nobody.avi", [room()]))]
    assert "would both be called nobody" in refused(["extract", "video", *twice, *out])
