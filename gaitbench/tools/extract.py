"""``gaitbench extract``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gaitbench.errors import InputError
from gaitbench.readers.keypoints import NAMED, label_of, read_sequence_labels
from gaitbench.tools.datasets import command_parser
from gaitbench.video.frames import FLOWS, MODALITIES

if TYPE_CHECKING:
    from gaitbench.video.extraction import Source

ENDINGS = (
    ".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".webm", ".wmv",
)  # fmt: skip


def main(args: Sequence[str]) -> None:
    """Find people in videos, and store what networks on images and flow see of them."""
    parser = command_parser(
        "extract",
        "Find the people in videos of fixed cameras and store, frame by frame, their gray image, "
        "optical flow and silhouette. A file called like 001-nm-01-090.avi tells subject, "
        "condition, number and view, and shows one person: who is seen longest is taken.",
    )
    parser.add_argument("what", choices=["video"], help="what to read")
    parser.add_argument("videos", nargs="+", type=Path, help="files, or folders of them")
    parser.add_argument("--out", type=Path, required=True, help="folder of the store")
    parser.add_argument(
        "--modality", default=",".join(MODALITIES), help="what to store (default %(default)s)"
    )
    parser.add_argument(
        "--flow", choices=FLOWS, default="dis", help="how flow is found (default %(default)s)"
    )
    parser.add_argument("--weights", type=Path, help="published network of --flow spynet")
    parser.add_argument(
        "--boxes",
        type=Path,
        help="CSV of frame (from 0), track, x0, y0, x1, y1 in pixels, and video where there are "
        "several: where people are (default: what moves before the background)",
    )
    parser.add_argument(
        "--background",
        type=Path,
        help="picture or video of the place without people (default: what is seen most steadily)",
    )
    parser.add_argument(
        "--labels", type=Path, help="CSV of sequence (the video), subject, condition, number, view"
    )
    given = parser.parse_args(args)
    modality = tuple(name for name in MODALITIES if name in given.modality.split(","))
    if unknown := {*given.modality.split(",")} - {*MODALITIES}:
        parser.error(
            f"--modality {', '.join(sorted(unknown))} is unknown; choose of {', '.join(MODALITIES)}"
        )
    try:
        from gaitbench.store import store_at
        from gaitbench.video.extraction import Extraction, read_videos, video_marks
    except ModuleNotFoundError as error:
        raise InputError(
            f"videos need {error.name}, which is not installed; pip install 'gaitbench[video]'"
        ) from error

    remedy = ", or say with --boxes where people are"
    options = Extraction(modality, given.flow, given.weights, remedy=remedy)
    sources = find_sources(given.videos, given.labels, given.boxes, given.background)
    key = hashlib.sha256("".join(video_marks(sources, options)).encode()).hexdigest()
    out = given.out.resolve()
    keep = out.with_name(f".{out.name}.parts")
    store = store_at(
        out,
        key,
        lambda writer: read_videos(sources, options, writer, keep),
        options.info("video"),
    )
    table = store.sequences
    print(
        f"{len(table)} sequences of {table['video'].nunique()} of {len(sources)} videos, "
        f"{len(store.frames)} frames of {', '.join(store.arrays)}, written to {given.out}"
    )


def find_sources(
    videos: Sequence[Path], labels: Path | None, boxes: Path | None, background: Path | None
) -> list[Source]:
    """The videos that are meant, in the order given; those of a folder by their names.

    Raises:
        InputError: if there is none, or two would have the same name.
    """
    from gaitbench.video.extraction import Source

    told = {} if labels is None else read_sequence_labels(labels)
    found: dict[str, Source] = {}
    for given in videos:
        files = [given]
        if given.is_dir():
            files = sorted(file for file in given.rglob("*") if file.suffix.lower() in ENDINGS)
        for file in files:
            inside = file.relative_to(given) if given.is_dir() else Path(file.name)
            name = inside.with_suffix("").as_posix()
            if name in found:
                raise InputError(
                    f"{found[name].path} and {file} would both be called {name}; rename one of them"
                )
            named = label_of(name, {}) if NAMED.fullmatch(name) else None
            found[name] = Source(file, name, told.get(name, named), boxes, background)
    if not found:
        raise InputError(f"{videos[0]} holds no video ({' '.join(ENDINGS)})")
    return list(found.values())
