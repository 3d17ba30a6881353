"""Dense optical flow between two frames of a video."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.video.decode import Image
from gaitbench.video.frames import FLOWS

# videos are read side by side, and OpenCV's threads survive no fork: it must never have any
cv2.setNumThreads(1)

SMALL = 240
"""Lines of a picture up to which dense inverse search goes down to single pixels. On rendered
people of 320 x 240 it makes an error of 0.9 pixels one of 0.6, and costs four times as much."""

FlowMethod = Callable[[Image, Image], NDArray[np.float32]]
"""Makes of two frames (H, W, 3) the displacement (H, W, 2) of each pixel of the first, x and y."""


def flow_method(name: str, weights: Path | None = None) -> FlowMethod:
    """How flow is found.

    Args:
        name: one of :data:`gaitbench.video.frames.FLOWS`.
        weights: of SPyNet, which comes with none.

    Raises:
        InputError: if SPyNet has no weights.
        ValueError: if the name is none of these.
    """
    if name == "dis":
        return _dense_inverse_search()
    if name == "farneback":
        return _farneback
    if name not in FLOWS:
        raise ValueError(f"there is no flow {name!r}")
    if weights is None:
        raise InputError(
            "--flow spynet needs --weights FILE: the published network is for research only and "
            "does not come with this program"
        )
    return _spynet(weights)


def gray(image: Image) -> Image:
    """The brightness (H, W) of a picture."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _dense_inverse_search() -> FlowMethod:
    searches = []
    for finest in (0, 1):
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        search.setFinestScale(finest)
        searches.append(search)

    def find(before: Image, after: Image) -> NDArray[np.float32]:
        search = searches[len(before) > SMALL]
        found = search.calc(gray(before), gray(after), None)  # type: ignore[call-overload]
        return np.asarray(found, np.float32)

    return find


def _farneback(before: Image, after: Image) -> NDArray[np.float32]:
    found = cv2.calcOpticalFlowFarneback(
        gray(before), gray(after), None,  # type: ignore[call-overload]
        pyr_scale=0.5, levels=4, winsize=15, iterations=3, poly_n=5, poly_sigma=1.1, flags=0,
    )  # fmt: skip
    return np.asarray(found, np.float32)


def _spynet(weights: Path) -> FlowMethod:
    import torch

    from gaitbench.video.spynet import read_spynet

    network = read_spynet(weights)

    def find(before: Image, after: Image) -> NDArray[np.float32]:
        pair = torch.from_numpy(np.stack([before, after])).permute(0, 3, 1, 2) / 255
        with torch.inference_mode():
            flow = network(pair[:1], pair[1:])[0]
        found: NDArray[np.float32] = flow.permute(1, 2, 0).contiguous().numpy()
        return found

    return find
