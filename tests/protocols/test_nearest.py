"""The nearest items against measuring and sorting everything."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from gaitbench.protocols import Distance
from gaitbench.protocols import nearest as module
from gaitbench.protocols.nearest import nearest


def brute_force(gallery: Tensor, probes: Tensor, count: int, distance: str) -> Tensor:
    """Places by a loop in float64."""
    if distance == "cosine":
        gallery, probes = (
            torch.nn.functional.normalize(x.double()).float() for x in (gallery, probes)
        )
    found = []
    for probe in probes.double():
        gap = (gallery.double() - probe).abs()
        each = gap.sum(1) if distance == "l1" else gap.square().sum(1)
        found.append(each.argsort(stable=True)[:count])
    return torch.stack(found)


@pytest.mark.parametrize("distance", get_args(Distance))
@pytest.mark.parametrize("offset", [0, 1000])
def test_places_are_those_of_a_loop(
    distance: Distance, offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In several blocks, far from the origin too, where a product in float32 says little."""
    monkeypatch.setattr(module, "WIDTH", 64)
    draw = torch.Generator().manual_seed(0)
    gallery = torch.randn(300, 9, generator=draw) + offset
    probes = torch.cat((gallery[:5], torch.randn(20, 9, generator=draw) + offset))
    places, distances = nearest(gallery, probes, 4, distance)
    torch.testing.assert_close(places, brute_force(gallery, probes, 4, distance))
    assert (distances.diff(dim=1) >= 0).all()
    assert distances[:5, 0].max() == 0


@pytest.mark.parametrize("distance", get_args(Distance))
def test_equal_items_come_in_their_order(distance: Distance) -> None:
    """More equal ones than are measured at first: the earliest are found all the same."""
    gallery = torch.ones(100, 3)
    gallery[40:] = torch.tensor([1.0, 2.0, 1.0])
    places, _ = nearest(gallery, torch.ones(2, 3), 3, distance)
    assert places.tolist() == [[0, 1, 2]] * 2
    assert nearest(gallery[:2], torch.ones(1, 3), 5, distance)[0].tolist() == [[0, 1]]
