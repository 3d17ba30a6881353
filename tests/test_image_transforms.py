"""Changes of frames and flow against the numbers of the authors' program, and by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gaitbench.batch import Share
from gaitbench.errors import InputError
from gaitbench.image_transforms import (
    FrameAugmentation,
    Warp,
    flow_values,
    gray_values,
    sampling_weights,
    silhouette_values,
    without_extremes,
)
from tests.goldens import gaitcopy_golden, thinned

DATA, FACTS = gaitcopy_golden("augment")
YES, NO = torch.tensor([True]), torch.tensor([False])
SAME = torch.eye(60)[None]


def gray() -> Tensor:
    """(1, 4, 60, 60, 1), of 4 frames."""
    return gray_values(torch.from_numpy(DATA["gray_u8"])).permute(2, 0, 1)[None, ..., None]


def flow() -> Tensor:
    """(1, 2, 60, 60, 2), of 2 frames."""
    stored = torch.from_numpy(DATA["of_i16"])
    return flow_values(stored).unflatten(2, (2, 2)).permute(2, 0, 1, 3)[None]


def agree(found: Tensor, name: str, bound: float = 0) -> None:
    """Compare windows (1, T, 60, 60, C) with channels of frames one after the other."""
    wanted = DATA[name]
    values = found[0].permute(0, 3, 1, 2).flatten(0, 1).numpy()
    assert np.abs(thinned(values[: len(wanted)], wanted) - wanted).max() <= bound


def test_mirrors_and_clipping_are_the_authors() -> None:
    mirrored = Warp(SAME, SAME.flip(1), YES, YES)
    agree(mirrored(gray()), "mirror_gray")
    agree(mirrored(flow()), "mirror_of")
    clipped = without_extremes(flow(), torch.tensor([23.0]), torch.tensor([0.5]))
    agree(clipped, "of_loaded_clip2300_50", 2e-10)  # theirs are 1e-8 in stored units, not 0


@pytest.mark.parametrize("number", range(1, 5))
@pytest.mark.parametrize(("version", "off_centre"), [("kp112", 1.0), ("keras212", 0.0)])
def test_warps_are_the_authors(number: int, version: str, off_centre: float) -> None:
    told = FACTS["transforms"][number]
    axes = []
    for names in (("zx", "tx"), ("zy", "ty")):
        values = (torch.tensor([told[name]], dtype=torch.float64) for name in names)
        axes.append(sampling_weights(60, *values, off_centre))
    if version == "keras212":
        axes.reverse()
    warp = Warp(*axes, NO, NO)
    agree(warp(gray()), f"tf{number}_{version}_gray", 1e-6)
    agree(warp(flow()), f"tf{number}_{version}_of", 1e-5)  # of values up to 30


def test_bytes_become_values() -> None:
    assert gray_values(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-0.5, 0.5]
    assert flow_values(torch.tensor([-127], dtype=torch.int8), 4).tolist() == [-31.75]
    stored = torch.arange(64, dtype=torch.uint8).expand(1, 2, 64, 64)[..., None]
    values = silhouette_values(stored)
    assert values.shape == (1, 2, 64, 44, 1)
    assert torch.equal(values[0, 0, 0, :, 0], torch.arange(10, 54) / 255)


def test_a_warp_is_drawn_pixel_by_pixel() -> None:
    torch.manual_seed(0)
    frames = torch.randn(6, 3, 6, 5, 2)
    augmentation = FrameAugmentation(warp=1, mirror=0.5, clip=0, shifts=(-1.5, 2), zoom=0.2)
    warp = augmentation.draw(6, 6, 5, torch.Generator().manual_seed(3))
    assert warp.mirrored.any() and not warp.mirrored.all()
    found = warp(frames)
    for b in range(6):
        for row in range(6):
            for column in range(5):
                sign = -1.0 if warp.mirrored[b] else 1.0
                mixed = torch.einsum(
                    "thwc,h,w->tc", frames[b].double(), warp.rows[b, row], warp.columns[b, column]
                )
                mixed[:, 0] *= sign
                torch.testing.assert_close(
                    found[b, :, row, column].double(), mixed, atol=1e-5, rtol=0
                )
    assert torch.allclose(warp.rows.sum(2), torch.ones(6, 6).double())


def test_shares_and_distributions_are_the_published() -> None:
    generator = torch.Generator().manual_seed(0)
    warp = FrameAugmentation().draw(1500, 60, 60, generator)
    assert float(warp.mirrored.double().mean()) == pytest.approx(0.375, abs=0.04)
    assert torch.equal(warp.mirrored, warp.told)
    still = (warp.rows == torch.eye(60)).all(dim=(1, 2))
    assert float(still.double().mean()) == pytest.approx(0.25, abs=0.04)
    assert not warp.mirrored[still].any()
    # where a row comes from: its weighted mean, in the middle free of the border
    source = (warp.rows[~still] @ torch.arange(60).double()[:, None])[:, :, 0]
    zoom = (source[:, 44] - source[:, 15]) / 29
    assert 0.96 < zoom.min() < 0.961 and 1.039 < zoom.max() < 1.04
    shift = (source[:, 29] + source[:, 30]) / 2 - 29.5
    found, count = shift.round().unique(return_counts=True)
    assert found.tolist() == [-5, -3, 0, 3, 5]
    assert (count / count.sum() - 0.2).abs().max() < 0.04


def test_what_is_released_mirrors_the_others_without_telling() -> None:
    augmentation = FrameAugmentation(mirror_others=True)
    warp = augmentation.draw(4000, 8, 8, torch.Generator().manual_seed(1))
    secretly = warp.mirrored & ~warp.told
    assert float(secretly.double().mean()) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(warp.columns[secretly][0], torch.eye(8).flip(0).double())


def test_half_of_the_windows_are_clipped_as_thresholds_vary() -> None:
    values = torch.linspace(0, 30, 3001).view(1, 1, 3001, 1, 1).expand(400, 1, -1, 1, 2)
    augmentation = FrameAugmentation(clip_spread=(0.1, 0.03))
    clipped = augmentation.clipped(values, torch.Generator().manual_seed(2))[:, 0, :, 0, 0]
    touched = clipped[:, -1] == 0
    assert 150 < touched.sum() < 250
    highest = clipped[touched].amax(dim=1)
    assert highest.std() == pytest.approx(0.1, rel=0.2) and highest.mean() == pytest.approx(
        23, abs=0.05
    )
    lowest = torch.where(clipped[touched] > 0, clipped[touched], 30).amin(dim=1)
    assert lowest.std() == pytest.approx(0.03, rel=0.2) and lowest.mean() == pytest.approx(
        0.5, abs=0.02
    )


def test_tones_follow_one_curve_a_window() -> None:
    values = torch.linspace(-0.5, 0.5, 401).view(1, 1, 401, 1, 1).expand(200, 2, -1, 1, 1)
    toned = FrameAugmentation(tone=0.5).toned(values, torch.Generator().manual_seed(3))
    assert toned.shape == values.shape and torch.equal(toned[:, 0], toned[:, 1])
    curves = toned[:, 0, :, 0, 0]
    kept = (curves - values[0, 0, :, 0, 0]).abs().amax(dim=1) < 1e-6
    assert 70 < kept.sum() < 130
    changed = curves[~kept]
    assert changed.abs().max() <= 0.5
    points = changed[:, ::100]  # straight between them
    assert points.mean().abs() < 0.05 and points.std() == pytest.approx(12**-0.5, rel=0.1)
    middle = changed[:, 50::100]
    torch.testing.assert_close(middle, (points[:, 1:] + points[:, :-1]) / 2)


def test_a_batch_is_a_function_of_the_generator_and_is_not_written_to() -> None:
    frames = torch.randn(6, 4, 20, 20, 2)
    before = frames.clone()
    augmentation = FrameAugmentation()
    one, two = (augmentation(frames, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two) and torch.equal(frames, before)
    assert one.shape == frames.shape and one.is_contiguous()
    off = FrameAugmentation(warp=0, clip=0)
    assert torch.equal(off(frames, torch.Generator()), frames)


def test_each_process_varies_its_windows_as_one_would() -> None:
    frames = 10 * torch.randn(5, 4, 20, 20, 2)
    augmentation = FrameAugmentation(clip_spread=(0.1, 0.03))
    shares = [Share(((0, 3), (3, 2)), rank) for rank in range(2)]
    parts = [
        augmentation(frames[share.own], torch.Generator().manual_seed(7), share) for share in shares
    ]
    whole = augmentation(frames, torch.Generator().manual_seed(7))
    assert torch.allclose(torch.cat(parts), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"warp": 2}, "augmentation.warp is 2; give a probability"),
        ({"clip": -1}, "augmentation.clip is -1"),
        ({"tone": 1.5}, "augmentation.tone is 1.5"),
        ({"shifts": ()}, "shifts is empty"),
        ({"zoom": 1}, "zoom is 1"),
    ],
)
def test_settings_are_checked(settings: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        FrameAugmentation(**settings)
