"""What is written for TensorBoard, read by TensorBoard's own means."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from torch.utils.tensorboard import SummaryWriter
from werkzeug.test import Client

from gaitbench.board import board_of, show, thumbs_of, write_projector
from gaitbench.draw import pose_thumbs
from gaitbench.draw.canvas import new_figure
from gaitbench.draw.thumbs import SIDE
from gaitbench.skeleton import COCO17, KINECT20
from gaitbench.store import SequenceStore, StoreInfo, StoreWriter


def picture_of(events: EventAccumulator, tag: str) -> tuple[int, np.ndarray]:
    """Step and pixels of the last picture of that name."""
    last = events.Images(tag)[-1]
    with Image.open(io.BytesIO(last.encoded_image_string)) as image:
        return last.step, np.asarray(image.convert("RGB"))


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), {"images": 0, "scalars": 0}).Reload()


def test_pictures_are_those_that_were_drawn(tmp_path: Path) -> None:
    pixels = np.zeros((30, 50, 3), np.uint8)
    pixels[:, 20:] = (255, 0, 128)
    Image.fromarray(pixels).save(tmp_path / "drawn.png")
    figure = new_figure(2, 1, dpi=100)
    figure.set_facecolor("#008000")
    board = SummaryWriter(str(tmp_path / "run"))
    show(board, "a/file", tmp_path / "drawn.png", 7)
    show(board, "a/figure", figure, 8)
    board.close()
    events = read(tmp_path / "run")
    step, found = picture_of(events, "a/file")
    assert step == 7 and (found == pixels).all()
    step, found = picture_of(events, "a/figure")
    assert step == 8 and found.shape == (100, 200, 3) and (found == (0, 128, 0)).all()
    assert len([*(tmp_path / "run").iterdir()]) == 1


def test_only_the_first_process_has_a_board(tmp_path: Path) -> None:
    loggers = [CSVLogger(str(tmp_path)), TensorBoardLogger(str(tmp_path))]
    trainer: Any = SimpleNamespace(is_global_zero=True, loggers=loggers)
    board = board_of(trainer)
    assert board is not None and board.log_dir == loggers[1].log_dir
    board.close()
    trainer.is_global_zero = False
    assert board_of(trainer) is None
    assert board_of(SimpleNamespace(is_global_zero=True, loggers=loggers[:1])) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("with_thumbs", [True, False])
def test_the_projector_finds_its_points(tmp_path: Path, with_thumbs: bool) -> None:
    """As its plugin serves them; what stood there before gives way."""
    points = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    labels = pd.DataFrame({"subject": ["a", 'b"', "tab\tin", "line\nin", "é"], "view": range(5)})
    thumbs = np.full((2 * SIDE, 3 * SIDE, 3), 9, np.uint8)
    write_projector(tmp_path / "run", "old", points[:2], labels[:2], None)
    write_projector(tmp_path / "run", "test", points, labels, thumbs if with_thumbs else None)
    (tmp_path / "run" / "events.out.tfevents.1").touch()
    provider = SimpleNamespace(list_runs=lambda *_, **__: [SimpleNamespace(run_name="run")])
    plugin = ProjectorPlugin(SimpleNamespace(data_provider=provider, logdir=str(tmp_path)))
    served = plugin.get_plugin_apps()

    def get(route: str, **query: str) -> Any:
        return Client(served[route]).get("/", query_string={"run": "run", **query})

    (told,) = get("/info").json["embeddings"]
    assert told["tensorName"] == "test" and told["tensorShape"] == [5, 3]
    tensor = np.frombuffer(get("/tensor", name="test").data, np.float32).reshape(5, 3)
    np.testing.assert_allclose(tensor, points, rtol=1e-5)
    lines = get("/metadata", name="test").text.splitlines()
    assert lines == ["subject\tview", "a\t0", 'b"\t1', "tab in\t2", "line in\t3", "é\t4"]
    sprite = get("/sprite_image", name="test")
    assert (sprite.status_code == 200) == with_thumbs
    if with_thumbs:
        assert told["sprite"]["singleImageDim"] == [SIDE, SIDE]
        with Image.open(io.BytesIO(sprite.data)) as image:
            assert (np.asarray(image) == thumbs).all()


def stored(folder: Path, frames: Any, info: StoreInfo) -> SequenceStore:
    """A store of two sequences, of three frames and of one."""
    folder.mkdir()
    table = pd.DataFrame({"start": [0, 3], "length": [3, 1], "subject": ["a", "b"]})
    writer = StoreWriter(folder)
    writer.append(frames)
    writer.finish(table)
    writer.close()
    written = {**vars(info), "num_frames": 4, "num_sequences": 2, **writer.describe()}
    return SimpleNamespace(  # type: ignore[return-value]
        arrays=frames if isinstance(frames, dict) else {"frames": frames},
        sequences=table,
        info=SimpleNamespace(**written),
    )


def test_a_small_picture_is_of_the_middle_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pose = rng.uniform(1, 90, (4, 17, 3)).astype(np.float32)
    store = stored(tmp_path / "pose", pose, StoreInfo("x", "pose", "coco17", "pixels, confidence"))
    found = thumbs_of(store, store.sequences)
    assert (found == pose_thumbs(pose[[1, 3]], COCO17)).all()
    upwards = StoreInfo("x", "pose", "coco17", "normalised, y up, confidence")
    store = stored(tmp_path / "up", pose * [1, -1, 1], upwards)
    assert (thumbs_of(store, store.sequences) == found).all()

    # of a body in space, from the side: depth is to the right
    body = rng.uniform(1, 2, (4, 20, 3))
    store = stored(tmp_path / "body", body, StoreInfo("x", "skeleton3d", "kinect20", "metres"))
    seen = np.stack([body[..., 2], -body[..., 1], np.ones((4, 20))], -1)
    assert (thumbs_of(store, store.sequences) == pose_thumbs(seen[[1, 3]], KINECT20)).all()


def test_a_small_picture_is_of_the_modality(tmp_path: Path) -> None:
    gray = np.arange(4, dtype=np.uint8)[:, None, None] * np.full((1, 64, 64), 60, np.uint8)
    flow = np.zeros((4, 64, 64, 2), np.int16)
    flow[:, :, 32:, 0] = 100
    arrays = {"gray": gray, "flow": flow}
    store = stored(tmp_path / "images", arrays, StoreInfo("x", "images", None, ""))
    for modality in ("gray", "other"):
        sheet = thumbs_of(store, store.sequences, modality)
        assert (sheet[:, :SIDE] == 60).all() and (sheet[:, SIDE:] == 180).all()
    sheet = thumbs_of(store, store.sequences, "flow")
    assert (sheet[:, :32] == 255).all()  # white does not move
    assert (sheet[:, 32:64] == (255, 0, 0)).all()  # red moves to the right
