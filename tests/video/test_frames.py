import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitbench.video.frames import SIDE, flow_frame, gray_frame, silhouette_frame


def walker(height=240, width=320, shift=0) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (150 + shift, 130), (25, 70), 8, 0, 360, 255, -1)
    cv2.circle(mask, (158 + shift, 45), 18, 255, -1)
    return mask


def test_gray_is_the_mean_of_four_pixels_of_sixty_four():
    image = np.random.default_rng(0).integers(0, 256, (480, 640)).astype(np.uint8)
    four = sum(image[3 + i :: 8, 3 + j :: 8].astype(int) for i in (0, 1) for j in (0, 1))
    np.testing.assert_array_equal(gray_frame(image), (four + 2) // 4)


@pytest.mark.parametrize("size", [(432, 768), (240, 320), (1920, 1080), (100, 90), (60, 80)])
def test_other_sizes_are_as_opencv_makes_them(size):
    image = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    expected = cv2.resize(image.astype(np.float32), (80, 60), interpolation=cv2.INTER_LINEAR)
    assert np.abs(gray_frame(image) - expected).max() <= 0.5 + 1e-3


def test_flow_is_in_hundredths_cut_off_and_held_in_16_bits():
    flow = np.full((60, 80, 2), 1.239, np.float32)
    flow[0, 0] = -1.239, 0
    flow[1, 1] = 400, -400
    stored = flow_frame(flow)
    assert stored.dtype == np.int16
    assert stored[5, 5].tolist() == [123, 123]
    assert stored[0, 0].tolist() == [-123, 0]
    assert stored[1, 1].tolist() == [32767, -32768]


def as_published(image: np.ndarray) -> np.ndarray:
    """GaitSet's preparation step by step."""
    rows = np.flatnonzero(image.sum(axis=1))
    image = image[rows[0] : rows[-1] + 1]
    wide = int(64 * image.shape[1] / image.shape[0])
    image = cv2.resize(image, (wide, 64), interpolation=cv2.INTER_CUBIC)
    total, middle = 0, 0
    for column in range(wide):
        total += int(image[:, column].sum())
        if total > image.sum() / 2:
            middle = column
            break
    return np.pad(image, ((0, 0), (64, 64)))[:, middle + 32 : middle + 96]


@pytest.mark.parametrize("shift", [-130, -60, 0, 90, 150])
def test_silhouettes_are_normalised_as_published(shift):
    mask = walker(shift=shift)
    expected = as_published(mask)
    for given_as in (mask, mask > 0):
        apart = np.abs(silhouette_frame(given_as).astype(int) - expected)
        assert apart.max() <= 1


@settings(max_examples=30, deadline=None)
@given(x=st.integers(0, 60), y=st.integers(0, 30), wide=st.integers(0, 9))
def test_where_a_person_stands_is_no_matter(x, y, wide):
    person = walker()[25:205, 110:190]
    canvas = np.zeros((240, 160 + wide), np.uint8)
    canvas[y : y + 180, x : x + 80] = person
    rows, alone = (silhouette_frame(mask).sum(axis=1) / 255 for mask in (canvas, person))
    np.testing.assert_allclose(rows, alone, atol=1.5)  # pixels; widths are whole numbers


def test_nobody_is_empty():
    assert not silhouette_frame(np.zeros((50, 20), bool)).any()
    assert not silhouette_frame(np.zeros((0, 0), bool)).any()
    few = np.zeros((50, 20), bool)
    few[:3, :13] = True
    assert not silhouette_frame(few).any()
    few[3, 0] = True
    assert silhouette_frame(few).shape == (SIDE, SIDE)
    assert silhouette_frame(few).any()
