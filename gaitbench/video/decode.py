"""Videos read frame by frame, by PyAV.

OpenCV decodes as well, and as fast, but by design in silence: a damaged file just ends, and frames
that change their size are scaled to the first. FFmpeg's own binding says what it meets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import PIL.Image
from av.error import FFmpegError
from numpy.typing import NDArray

from gaitbench.errors import InputError

Image = NDArray[np.uint8]


class VideoFault(InputError):
    """A video that cannot be used, where others can."""


IMAGES = (".bmp", ".jpeg", ".jpg", ".png")
"""Endings of the images that make up a video in a folder."""
FORMATS = ("BMP", "JPEG", "PNG")
"""What they are; for some other formats, whatever their names, Pillow runs programs."""


class Video:
    """A video file, or a folder of images; may be read several times.

    Args:
        path: of it. The images of a folder come in the order of their names.

    Attributes:
        width, height: pixels of the upright first frame.
        fps: frames a second that the file claims; 0 where it claims none.
        fault: what was found wrong in reading it to the end, as the rest of a sentence that begins
            with the file; empty if nothing was, or before.

    Raises:
        VideoFault: if it holds no picture that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.fault = ""
        self.fps = 0.0
        first = next(self.frames(), None)
        if first is None:
            raise VideoFault(
                f"{path} holds no frame that can be decoded; copy it again or leave it out"
            )
        self.height, self.width = first.shape[:2]

    def frames(self) -> Iterator[Image]:
        """All frames (H, W, 3), blue first, upright, in the order they are shown.

        Packets that are damaged are passed over and counted. What comes after a change of the
        frames' size is left out, for it is another picture.
        """
        if self.path.is_dir():
            yield from self._images()
            return
        self.fault = ""
        found = damaged = 0
        size: tuple[int, ...] = ()
        try:
            container = av.open(str(self.path))
        except (FFmpegError, OSError, ValueError) as error:  # texts in it need not be text
            reason = getattr(error, "strerror", None) or error
            raise VideoFault(
                f"{self.path} cannot be opened as a video ({reason}); copy it again or leave it out"
            ) from error
        with container:
            if not container.streams.video:
                raise VideoFault(f"{self.path} has no picture; name a video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            self.fps = float(stream.average_rate or 0)
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                    if packet is None:
                        break
                    decoded = packet.decode()
                except FFmpegError:
                    damaged += 1
                    continue
                for frame in decoded:
                    image = _upright(frame)
                    size = size or image.shape
                    if image.shape != size:
                        self.fault = _changed(size, image.shape, found)
                        return
                    damaged += frame.is_corrupt
                    found += 1
                    yield image
            faults = []
            if damaged:
                faults.append(f"is damaged: {damaged} of its packets could not be decoded")
            if found < stream.frames:
                faults.append(
                    f"is cut: it holds {found} of the {stream.frames} frames it announces"
                )
            self.fault = "; ".join(faults)

    def _images(self) -> Iterator[Image]:
        """The same of a folder of images; those that are damaged are passed over and counted."""
        self.fault = ""
        found = damaged = 0
        size: tuple[int, ...] = ()
        for file in images_of(self.path):
            try:
                with PIL.Image.open(file, formats=FORMATS) as picture:
                    red_first = np.asarray(picture.convert("RGB"))
            except Exception:  # Pillow raises anything on a damaged image
                damaged += 1
                continue
            size = size or red_first.shape
            if red_first.shape != size:
                self.fault = _changed(size, red_first.shape, found)
                return
            found += 1
            yield np.ascontiguousarray(red_first[..., ::-1])
        if damaged:
            self.fault = f"is damaged: {damaged} of its images could not be decoded"


def images_of(folder: Path) -> list[Path]:
    """The images in a folder, by their names."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGES)


def _changed(before: tuple[int, ...], after: tuple[int, ...], frame: int) -> str:
    (height, width), (h, w) = before[:2], after[:2]
    return (
        f"changes from {width}x{height} to {w}x{h} pixels at frame {frame}; what follows is left "
        "out"
    )


def _upright(frame: av.VideoFrame) -> Image:
    """The picture as it is meant to be seen: phones note how they were held."""
    image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
