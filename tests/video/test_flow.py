import cv2
import numpy as np
import pytest

from gaitbench.errors import InputError
from gaitbench.video.flow import flow_method, gray
from gaitbench.video.frames import FLOWS


@pytest.mark.parametrize("name", ["dis", "farneback"])
def test_flow_leads_from_the_first_frame_to_the_second(name):
    noise = np.random.default_rng(0).integers(0, 256, (140, 180, 3)).astype(np.uint8)
    picture = cv2.GaussianBlur(noise, (0, 0), 2.5)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    before, after = picture[10:-10, 10:-10], picture[8:-12, 7:-13]  # moves by 3 and 2 pixels
    flow = flow_method(name)(before, after)
    assert flow.shape == (120, 160, 2)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(flow[20:-20, 20:-20].mean(axis=(0, 1)), [3, 2], atol=0.1)


def test_gray_is_brightness():
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8)
    assert gray(image).tolist() == [[29, 150, 76, 9]]


def test_the_network_needs_weights():
    with pytest.raises(InputError, match="--flow spynet needs --weights FILE"):
        flow_method("spynet")
    with pytest.raises(ValueError, match="no flow 'raft'"):
        flow_method("raft")
    assert FLOWS[0] == "dis"
