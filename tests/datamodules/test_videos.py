from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaitbench.__main__ import run
from gaitbench.datamodules import DATASETS, CasiaBVideo, Silhouettes, TumGaid
from gaitbench.errors import InputError
from gaitbench.protocols import evaluate_neighbours
from gaitbench.tum_gaid import LISTS
from gaitbench.video.decode import Video
from tests.video.films import room, walk, write


def write_images(folder: Path, frames: list[np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        Image.fromarray(frame[..., ::-1]).save(folder / f"{number:03d}.png")


@pytest.fixture(scope="module")
def casia_b(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("casia")
    for subject in ("001", "075"):
        write(path / f"{subject}-bkgrd-090.avi", [room(int(subject))] * 3)
        for repeat in (1, 5):
            name = f"{subject}-nm-{repeat:02d}-090.avi"
            write(path / "more" / name, walk(80, seed=int(subject)))
    write(path / "075-cl-01-090.avi", [room()] * 30)
    return path


def test_casia_b(casia_b, tmp_path, capsys):
    data = CasiaBVideo(str(casia_b), cache=str(tmp_path), teacher_modality="flow", batch_size=4)
    sources = data.videos
    assert [source.name for source in sources] == [
        "001-nm-01-090", "001-nm-05-090", "075-cl-01-090", "075-nm-01-090", "075-nm-05-090"
    ]  # fmt: skip
    assert sources[0].background == casia_b / "001-bkgrd-090.avi"
    assert data.skeleton == "gray-25x60x60"
    data.prepare_data()
    assert "075-cl-01-090.avi shows nobody" in capsys.readouterr().out
    data.setup("fit")
    table = data.sequences
    assert set(table["recording"]) == {0, 1, 2, 3}
    assert (table.groupby("recording").size() > 3).all()
    assert set(table["subject"].iloc[data.rows["test"]]) == {"075"}
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert batch.frames.shape == (4, 25, 60, 60, 1)
    assert batch.target.shape == (4, 25, 60, 60, 2)
    assert batch.target[..., 0].amax() > 1.5  # people walk to the right by 2 pixels a frame
    other = CasiaBVideo(str(casia_b), cache=str(tmp_path), background="found")
    assert other.videos[0].background is None
    assert other.store_key() != data.store_key()


def test_casia_b_by_command_line(casia_b, tmp_path, capsys):
    cache = str(tmp_path)
    assert run(["report-data", "casia-b-video", str(casia_b), "--cache", cache]) == 0
    assert (
        "| nm | 0 of 744 | 0 of 744 | 0 of 744 | 0 of 744 | 0 of 744 | 4 of 744 |"
        in capsys.readouterr().out
    )
    assert run(["report-data", "casia-b-video", str(tmp_path / "absent"), "--cache", cache]) == 2


@pytest.fixture(scope="module")
def tum_gaid(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tum")
    for subject, walks in (("001", ("n01", "n07")), ("002", ("n01", "n05", "n11"))):
        for name in walks:
            write_images(path / "image" / f"p{subject}" / name, walk(75, seed=int(subject)))
        back = path / "image" / f"p{subject}" / "back"
        back.mkdir()
        Image.fromarray(room(int(subject))[..., ::-1]).save(back / "background.jpg")
    (path / "labels").mkdir()
    for part, people in (("train", "1\n"), ("validation", ""), ("test", "p002\n")):
        (path / "labels" / LISTS[part]).write_text(people)
    return path


def test_tum_gaid(tum_gaid, tmp_path):
    data = TumGaid(str(tum_gaid), cache=str(tmp_path))
    background = {source.name: source.background for source in data.videos}
    assert [*background] == ["p001-n01", "p001-n07", "p002-n01", "p002-n05", "p002-n11"]
    assert background["p001-n01"] == tum_gaid / "image/p001/back/background.jpg"
    assert background["p001-n07"] is None
    assert data.split.train == ("001",)
    assert data.split.test == ("002",)
    data.setup("fit")
    table = data.sequences
    trained = table.iloc[data.rows["train"]]
    assert set(trained["number"]) == {1}  # the second recording does not train
    assert set(trained["subject"]) == {"001"}
    more = TumGaid(str(tum_gaid), cache=str(tmp_path), train_later=True)
    more.setup("fit")
    assert set(table["number"].iloc[more.rows["train"]]) == {1, 7}
    assert set(table["view"]) == {90}
    embeddings = np.random.default_rng(0).random((len(table), 8))
    tested = table.iloc[data.rows["test"]].reset_index(drop=True)
    for protocol, name in (("tum_gaid.first", "N"), ("tum_gaid.later", "TN")):
        judged = evaluate_neighbours(
            embeddings[data.rows["test"]], tested, data.protocols[protocol], bootstrap=0
        )
        assert [*judged.metrics] == [name]
        assert judged.metrics[name]["video_rank1"] == 1  # there is nobody else


def test_lists_of_tum_gaid(tum_gaid, tmp_path):
    listing = tmp_path / "labels" / "tumgaidtrainids.lst"
    data = TumGaid(str(tmp_path))
    with pytest.raises(InputError, match="has no list tumgaidtrainids"):
        data.split  # noqa: B018
    listing.parent.mkdir()
    listing.write_text("1 two")
    with pytest.raises(InputError, match="names 'two'"):
        data.split  # noqa: B018
    with pytest.raises(InputError, match="split 'half' is unknown"):
        TumGaid(str(tum_gaid), split="half").split  # noqa: B018
    with pytest.raises(InputError, match="no folder of a walk"):
        data.find_videos()


def test_the_elapsed_time_gallery_is_of_the_first_recording():
    gallery = TumGaid.protocols["tum_gaid.later"].gallery
    assert list(gallery["number"]) == [1, 2, 3, 4]
    assert len(gallery["subject"]) == 32
    assert list(TumGaid.protocols["tum_gaid.second"].gallery["number"]) == [7, 8, 9, 10]


def test_a_folder_of_images_is_a_video(tmp_path):
    frames = walk(5)
    write_images(tmp_path / "n01", frames)
    video = Video(tmp_path / "n01")
    assert (video.height, video.width, video.fps) == (*frames[0].shape[:2], 0)
    np.testing.assert_array_equal(np.stack([*video.frames()]), frames)
    assert video.fault == ""
    (tmp_path / "n01" / "002.png").write_bytes(b"no image")
    np.testing.assert_array_equal(np.stack([*video.frames()]), [frames[i] for i in (0, 2, 3, 4)])
    assert video.fault == "is damaged: 1 of its images could not be decoded"
    Image.fromarray(frames[0][:9]).save(tmp_path / "n01" / "004.png")
    assert len([*video.frames()]) == 2
    assert video.fault.startswith("changes from 128x96 to 128x9 pixels at frame 2")


def test_all_are_published():
    assert {CasiaBVideo, Silhouettes, TumGaid} <= {*DATASETS}
