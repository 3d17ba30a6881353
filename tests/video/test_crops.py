import hashlib

import numpy as np
import pytest
import torch

from gaitbench.video.crops import (
    HOP,
    WINDOW,
    cropped,
    flow_input,
    gray_input,
    middle_frame,
    window_starts,
)
from tests.goldens import GAITCOPY, golden
from tests.video.scenes import golden_frames


@pytest.mark.parametrize("seen", [0, 24, 25, 26, 27, 31, 32, 40, 111])
def test_windows_as_published_and_repaired(seen):
    """``seen`` frames of a person, of which the last has no flow."""
    published = [i for i in range(0, seen, HOP) if i + 1 + WINDOW < seen]
    assert window_starts(seen - 1, published=True).tolist() == published
    every = [i for i in range(0, seen, HOP) if i + WINDOW <= seen - 1]
    assert window_starts(seen - 1).tolist() == every
    assert len(published) == max(0, (seen - 27) // 5 + 1)


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def test_golden_windows():
    data = golden("prep", GAITCOPY)
    gray, flow = golden_frames()
    first, tracks = int(data["frames"][0]), data["tracks"][:, [1, 0, 3, 2]]
    starts = window_starts(len(tracks) - 1, published=True)
    assert starts.tolist() == [0, 5, 10]
    boxes = torch.from_numpy(tracks[middle_frame(starts, published=True)])
    frames = first + starts[:, None] + np.arange(WINDOW)
    width = torch.full((3,), 640)
    gray_windows = cropped(torch.from_numpy(gray[frames]), boxes, width).numpy()
    flow_windows = cropped(torch.from_numpy(flow[frames]), boxes, width).numpy()
    for k in range(3):
        assert digest(gray_windows[k, 12]) == data[f"gray_sample{k + 1}_frame12"]
        assert digest(flow_windows[k, 12]) == data[f"of_sample{k + 1}_frame12"]
    assert digest(gray_windows[1].transpose(1, 2, 0)) == data["gray_sample2"]
    on_disk = flow_windows[1].transpose(1, 2, 0, 3).reshape(60, 60, 50)
    assert digest(on_disk) == data["of_sample2"]


@pytest.mark.parametrize("kind", ["gray", "flow"])
def test_crop_equals_loop(kind):
    rng = np.random.default_rng(0)
    if kind == "gray":
        frames = rng.integers(0, 256, (12, 2, 60, 80)).astype(np.uint8)
    else:
        frames = rng.integers(-500, 500, (12, 2, 60, 80, 2)).astype(np.int16)
    x0 = rng.integers(-200, 1800, 12)
    boxes = np.stack([x0, x0 * 0, x0 + rng.integers(20, 300, 12), x0 * 0 + 9], axis=1)
    width = rng.choice([640, 768, 1920], 12)
    found = cropped(*map(torch.from_numpy, (frames, boxes.astype(np.int16), width))).numpy()
    assert found.dtype == frames.dtype
    for b in range(12):
        left, right = (round(float(boxes[b, i]) * 80 / width[b]) for i in (0, 2))
        d = 30 - (left + right) / 2
        column = np.zeros((60, *frames.shape[4:]))
        for c in range(60):
            for place, share in ((np.floor(c - d), 1 - (c - d) % 1), (np.floor(c - d) + 1, d % 1)):
                if 0 <= place < 80:
                    column[c] += share * frames[b, 1, 7, int(place)]
        rounded = np.floor(column + 0.5) if kind == "gray" else np.rint(column)
        np.testing.assert_array_equal(found[b, 1, 7], rounded)


def test_inputs_of_networks():
    gray = gray_input(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3))
    torch.testing.assert_close(gray.flatten(), torch.tensor([-0.5, -0.3, 0.5]))
    assert gray.shape == (1, 1, 1, 3, 1)
    flow = flow_input(torch.tensor([150, -20], dtype=torch.int16).reshape(1, 1, 1, 1, 2))
    torch.testing.assert_close(flow.flatten(), torch.tensor([1.5, -0.2]))
