"""What runs write to TensorBoard beside figures: pictures, settings, embeddings.

TensorBoard's own formats are written here, where :class:`SummaryWriter` would encode a picture
twice, begin a folder of its own (settings), or write a number at a time (embeddings).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger

from gaitbench.draw import image_thumbs, on_paper, pose_thumbs
from gaitbench.draw.samples import flow_colors
from gaitbench.draw.thumbs import SIDE
from gaitbench.files import written_whole
from gaitbench.skeleton import get_skeleton
from gaitbench.store import SequenceStore
from gaitbench.video.frames import FLOW, FLOW_STEPS

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

COLORS = 256
"""Of a picture, which makes its file a third as large."""

PROJECTED = 10_000
"""Most points of the projector; its own maps (t-SNE) take no more."""

VALUES = 1 << 22
"""Most values of them all, which are written as text of some 10 bytes each."""

CONFIG_FILE, FOLDER = "projector_config.pbtxt", "projector"


def board_of(trainer: pl.Trainer) -> SummaryWriter | None:
    """TensorBoard's log of a run, in its first process; None where there is none."""
    if trainer.is_global_zero:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                board: SummaryWriter = logger.experiment
                return board
    return None


def show(board: SummaryWriter, tag: str, picture: Figure | Path, step: int) -> None:
    """Add a picture, drawn or in a file."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    file = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(file, format="png")
    with Image.open(picture if isinstance(picture, Path) else file) as image:
        plain = image.convert("RGB").quantize(COLORS)
    file = io.BytesIO()
    plain.save(file, "PNG", optimize=True)
    shown = Summary.Image(
        width=plain.width,
        height=plain.height,
        colorspace=3,
        encoded_image_string=file.getvalue(),
    )
    summary = Summary(value=[Summary.Value(tag=tag, image=shown)])
    board._get_file_writer().add_summary(summary, step)  # type: ignore[no-untyped-call]


def begin_row(board: SummaryWriter, settings: Mapping[str, bool | int | float | str]) -> None:
    """Begin the run's row in the table of hyper-parameters; its scalars become its figures.

    No experiment is described, so TensorBoard makes the columns of what all rows have.
    """
    from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    info = SessionStartInfo()
    for name, value in settings.items():
        if isinstance(value, bool):
            info.hparams[name].bool_value = value
        elif isinstance(value, str):
            info.hparams[name].string_value = value
        else:
            info.hparams[name].number_value = value
    _tell(board, SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info))


def end_row(board: SummaryWriter) -> None:
    """Mark the run's row as that of a run that has ended well."""
    from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
    from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    info = SessionEndInfo(status=STATUS_SUCCESS)
    _tell(board, SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))


def _tell(board: SummaryWriter, tag: str, content: Any) -> None:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.metadata import NULL_TENSOR, create_summary_metadata

    metadata = create_summary_metadata(content)
    value = Summary.Value(tag=tag, metadata=metadata, tensor=NULL_TENSOR)
    board._get_file_writer().add_summary(Summary(value=[value]))  # type: ignore[no-untyped-call]
    board.flush()


def write_projector(
    run: Path,
    name: str,
    embeddings: NDArray[np.float32],
    labels: pd.DataFrame,
    thumbs: NDArray[np.uint8] | None,
) -> None:
    """Write points for TensorBoard's projector, in place of those that the run's folder has.

    Args:
        run: the folder that holds TensorBoard's log.
        name: of the set of points.
        embeddings: (N, D).
        labels: N rows, two columns or more.
        thumbs: a sheet of their N pictures, of ``SIDE`` pixels each; None if there are none.

    Raises:
        InputError: if a file cannot be written.
    """
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = ProjectorConfig()
    told = config.embeddings.add()
    told.tensor_name = name
    told.tensor_path, told.metadata_path = f"{FOLDER}/tensors.tsv", f"{FOLDER}/metadata.tsv"
    with written_whole(run / told.tensor_path) as path:
        np.savetxt(path, embeddings, fmt="%.6g", delimiter="\t")
    with written_whole(run / told.metadata_path) as path:
        # the format knows neither quotes nor escapes
        plain = labels.astype(str).replace(r"[\t\r\n]", " ", regex=True)
        plain.to_csv(path, sep="\t", index=False, lineterminator="\n", quoting=csv.QUOTE_NONE)
    if thumbs is not None:
        told.sprite.image_path = f"{FOLDER}/sprite.png"
        told.sprite.single_image_dim.extend([SIDE, SIDE])
        with written_whole(run / told.sprite.image_path) as path:
            Image.fromarray(thumbs).save(path)
    with written_whole(run / CONFIG_FILE) as path:
        path.write_text(str(config), encoding="utf-8")


def thumbs_of(
    store: SequenceStore, sequences: pd.DataFrame, modality: str = ""
) -> NDArray[np.uint8]:
    """The middle frame of each of N sequences as a small picture: a skeleton, or the image.

    Args:
        store: all frames.
        sequences: N rows with ``start`` and ``length`` in the store.
        modality: the array that is shown of several; the first where there is none of that name.
    """
    middle = (sequences["start"] + sequences["length"] // 2).to_numpy()
    name = modality if modality in store.arrays else next(iter(store.arrays))
    frames = np.take(store.arrays[name], middle, axis=0)
    if store.info.skeleton is None:
        if name == FLOW:
            colors = 255 * flow_colors(frames / FLOW_STEPS)
        else:
            colors = np.repeat(frames[..., None], 3, axis=-1)
        return image_thumbs(colors.astype(np.uint8))
    layout = get_skeleton(store.info.skeleton)
    spatial = store.info.kind == "skeleton3d"
    pose = on_paper(frames[:, None], layout, spatial, "y up" in store.info.units)
    return pose_thumbs(pose[:, 0], layout)
