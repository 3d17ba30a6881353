"""The film and the track that GaitCopy's golden windows were cut from."""

import numpy as np

from gaitbench.video.frames import flow_frame, gray_frame


def golden_frames(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """45 gray frames and 44 of flow, 640 x 480, as they are stored."""
    y, x = np.mgrid[:480, :640]
    q = 0.11 * seed
    gray, flow = [], []
    for t in range(45):
        wave = 127 + 100 * np.sin(0.06 * x + 0.25 * t + q) * np.cos(0.05 * y - 0.1 * t)
        gray.append(gray_frame(np.rint(wave).astype(np.uint8)))
        right = np.rint(900 * np.sin(0.05 * x + 0.3 * t + q) * np.cos(0.04 * y))
        down = np.rint(700 * np.cos(0.03 * x - 0.2 * t + 0.02 * y + q))
        hundredths = np.stack([right, down], axis=-1)
        # what is cut off after the second decimal must not be these
        beyond = hundredths / 100 + 1e-4 * np.sign(hundredths)
        flow.append(flow_frame(beyond.astype(np.float32)))
    return np.stack(gray), np.stack(flow[:-1])
