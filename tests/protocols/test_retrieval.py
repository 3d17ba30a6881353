from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gaitbench.protocols.distances import (
    Genuine,
    find_genuine,
    full_precision,
    pair_distances,
    unit_length,
)
from gaitbench.protocols.retrieval import METRICS, Ranker, ranks_of_matrix
from gaitbench.protocols.screens import ByteScreen, Screen, _byte_product, multiplies_bytes

needs_bytes = pytest.mark.skipif(
    not multiplies_bytes(), reason="this processor does not multiply bytes"
)
SCREENS = [
    ("euclidean", None),
    ("euclidean", (torch.float32,)),
    ("euclidean", (torch.bfloat16, torch.float32)),
    ("euclidean", (torch.bfloat16,)),
    pytest.param("euclidean", (torch.uint8, torch.bfloat16, torch.float32), marks=needs_bytes),
    pytest.param("euclidean", (torch.uint8,), marks=needs_bytes),
    ("l1", None),
    ("euclidean", (torch.float64,)),
    ("l1", (torch.float64,)),
]


def sorted_ranks(points, subjects, probes, gallery, distance) -> list[list[int]]:
    """Sort the whole gallery of each probe by float64 distances and look the genuine items up."""
    result = []
    for probe in probes.tolist():
        difference = points[gallery].double() - points[probe].double()
        distances = difference.abs() if distance == "l1" else difference.square()
        distances = distances.sum(1).tolist()
        places = [j for j in range(len(gallery)) if gallery[j] != probe]
        places.sort(key=lambda j: (distances[j], j))
        result.append(
            [r for r, j in enumerate(places, 1) if subjects[gallery[j]] == subjects[probe]]
        )
    return result


def filled(ranks: Tensor) -> list[list[int]]:
    return [[rank for rank in row if rank] for row in ranks.tolist()]


@pytest.mark.parametrize(("distance", "screens"), SCREENS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    dim=st.integers(1, 40),
    spread=st.sampled_from([1e-25, 1e-3, 1.0, 1e4, 1e25]),
    offset=st.sampled_from([0.0, 1.0, 1e3]),
    kind=st.sampled_from(["noise", "grid", "repeated", "one direction", "near ties"]),
)
def test_screened_ranks_equal_sorting_in_float64(
    distance, screens, seed, dim, spread, offset, kind
) -> None:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(40, dim, generator=generator)
    if kind == "grid":  # many exact ties
        points = points.round()
    elif kind == "repeated":
        points = points[torch.randint(0, 4, (40,), generator=generator)]
    elif kind == "one direction":
        points[:, 0] *= 1e4
    elif kind == "near ties":  # neighbouring numbers
        points = torch.ones(40, dim) + points.sign() * 2.0**-22
    points *= spread
    points += offset * min(spread, 1e4)
    subjects = torch.randint(0, 6, (40,), generator=generator).sort().values
    probes = torch.randperm(40, generator=generator)[:20]
    gallery = torch.randperm(40, generator=generator)[:27].sort().values
    genuine = find_genuine(subjects, probes, gallery)
    expected = sorted_ranks(points, subjects, probes, gallery, distance)
    for sizes in ({}, {"block": 16, "width": 8, "doubts": 1}):
        ranker = Ranker(points, distance, screens=screens, **sizes)
        assert filled(ranker.ranks(probes, gallery, genuine)) == expected


@contextmanager
def counted_pairs() -> Iterator[list[int]]:
    """How many pairs each exact measurement takes, while the block runs."""
    measured: list[int] = []

    def counting(points, left, right, distance) -> Tensor:
        measured.append(left.numel())
        return pair_distances(points, left, right, distance)

    with pytest.MonkeyPatch.context() as patch:
        for module in ("retrieval", "screens"):
            patch.setattr(f"gaitbench.protocols.{module}.pair_distances", counting)
        yield measured


@pytest.mark.parametrize(
    "first", [pytest.param(torch.uint8, marks=needs_bytes), torch.bfloat16, torch.float32]
)
def test_screens_decide_most_and_agree_with_sorting(first) -> None:
    screens = (first, torch.float32)
    generator = torch.Generator().manual_seed(0)
    people = torch.randn(150, 384, generator=generator)
    noisy = [people + 2 * torch.randn(150, 384, generator=generator) for _ in range(4)]
    points = unit_length(torch.stack(noisy, 1).reshape(600, 384))
    subjects = torch.arange(150).repeat_interleave(4)
    probes, gallery = torch.arange(0, 600, 2), torch.arange(1, 600, 2)
    genuine = find_genuine(subjects, probes, gallery)
    with counted_pairs() as measured:
        ranker = Ranker(points, "euclidean", screens=screens)
        ranks = ranker.ranks(probes, gallery, genuine)
    assert filled(ranks) == sorted_ranks(points, subjects, probes, gallery, "euclidean")
    assert sum(measured) < 300 * 300 / 20


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_scores_err_by_less_than_the_bound(dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(200, 64, generator=generator) + 3
    points[0] *= 20
    screen = Screen(points, "euclidean", dtype)
    probes, gallery = torch.arange(100), torch.arange(100, 200)
    valid = torch.ones(100, 1, dtype=torch.bool)
    own = pair_distances(points, probes, gallery, "euclidean")[:, None]
    left, low, high = screen._thresholds(probes, gallery, valid, own)
    scores = screen._scores(left, screen.items(gallery, 104)[0])[:, :100].double()
    exact = pair_distances(
        points, probes[:, None].expand(100, 100), gallery.expand(100, 100), "euclidean"
    )
    # Whatever is above the upper threshold is nearer, whatever is below the lower one farther.
    assert (exact < own)[scores > high.double()].all()
    assert (exact > own)[scores < low.double()].all()
    assert (low >= 0).all()
    assert (high.double() - low.double()).max() < (0.03 if dtype == torch.bfloat16 else 1e-3)


@needs_bytes
@pytest.mark.parametrize("kind", ["noise", "offset", "one large", "one direction", "signs"])
def test_scores_in_bytes_err_by_less_than_the_bound(kind) -> None:
    generator = torch.Generator().manual_seed(2)
    points = torch.randn(200, 64, generator=generator)
    if kind == "offset":
        points += 100
    elif kind == "one large":
        points[0] *= 20
    elif kind == "one direction":
        points[:, 0] *= 1e4
    elif kind == "signs":
        points = points.sign()
    screen = ByteScreen(points, "euclidean", torch.uint8)
    probes, gallery = torch.arange(100), torch.arange(100, 200)
    own = pair_distances(points, probes, gallery, "euclidean")
    left, unit, last = screen._thresholds(probes, gallery, own)
    ((packed, bias),) = screen.items(gallery, 104)
    levels = _byte_product(left, packed, bias, screen.step, unit)
    exact = pair_distances(
        points, probes[:, None].expand(100, 100), gallery.expand(100, 100), "euclidean"
    )
    assert (levels[:, 100:] == 0).all()
    assert (exact > own[:, None])[levels[:, :100] == 0].all()
    assert (exact < own[:, None])[levels[:, :100] > last[:, None]].all()
    assert (last < 140).all()


def test_bytes_and_sorting_are_chosen_where_they_pay() -> None:
    points = torch.randn(3000, 384, generator=torch.Generator().manual_seed(4))
    subjects = torch.arange(3000) // 2
    probes, gallery = torch.arange(0, 3000, 2), torch.arange(1, 3000, 2)
    genuine = find_genuine(subjects, probes, gallery)
    ranker = Ranker(points, "euclidean")
    assert (torch.uint8 in ranker._choose(1 << 30, genuine)) == multiplies_bytes()
    assert ranker._choose(1 << 10, genuine) == (torch.float32,)
    many = Genuine(*(rows.expand(-1, 9) for rows in (genuine.items, genuine.valid)), genuine.itself)
    assert torch.uint8 not in ranker._choose(1 << 30, many)


@pytest.mark.parametrize("distance", ["euclidean", "l1"])
@pytest.mark.parametrize("distinct", [1, 7])
def test_collapsed_embeddings_are_measured_once(distance, distinct) -> None:
    generator = torch.Generator().manual_seed(5)
    which = torch.randint(0, distinct, (4000,), generator=generator)
    points = torch.randn(distinct, 64, generator=generator)[which]
    subjects = torch.arange(4000) // 4
    probes, gallery = torch.arange(0, 4000, 2), torch.arange(1, 4000, 2)
    genuine = find_genuine(subjects, probes, gallery)
    with counted_pairs() as measured:
        ranks = Ranker(points, distance).ranks(probes, gallery, genuine)
    assert sum(measured) <= genuine.items.numel() + distinct**2
    chosen = torch.arange(0, 2000, 500)
    expected = sorted_ranks(points, subjects, probes[chosen], gallery, distance)
    assert filled(ranks[chosen]) == expected


@pytest.mark.parametrize("distance", ["euclidean", "l1"])
def test_crowds_of_genuine_items_are_looked_up(distance) -> None:
    """Ranks are those of sorting, and hardly anything but the genuine pairs is measured."""
    generator = torch.Generator().manual_seed(6)
    subjects = torch.arange(4).repeat_interleave(60)
    people = torch.randn(4, 48, generator=generator)
    points = people[subjects] + torch.randn(240, 48, generator=generator)
    points[7:9] = points[100]  # exact ties
    probes, gallery = torch.arange(0, 240, 5), torch.arange(240)
    genuine = find_genuine(subjects, probes, gallery)
    ranker = Ranker(points, distance, width=64)
    assert genuine.items.shape[1] == 60
    assert ranker._choose(len(probes) * len(gallery), genuine) == (torch.float64,)
    with counted_pairs() as measured:
        ranks = ranker.ranks(probes, gallery, genuine)
    assert filled(ranks) == sorted_ranks(points, subjects, probes, gallery, distance)
    assert sum(measured) < genuine.items.numel() + 20 * len(probes)
    few = genuine.items[:, :9], genuine.valid[:, :9]
    assert ranker._choose(1 << 10, Genuine(*few, genuine.itself)) == (torch.float32,)


def test_equal_embeddings_are_ranked_by_their_place() -> None:
    points = torch.ones(6, 3)
    subjects = torch.tensor([0, 0, 1, 1, 2, 2])
    probes, gallery = torch.tensor([0, 2, 4]), torch.tensor([1, 3, 5])
    ranks = Ranker(points, "euclidean").ranks(
        probes, gallery, find_genuine(subjects, probes, gallery)
    )
    assert ranks.tolist() == [[1], [2], [3]]


def test_a_probe_is_no_item_of_its_own_gallery() -> None:
    points = torch.tensor([[0.0], [1.0], [5.0], [0.5]])
    subjects = torch.tensor([0, 0, 0, 1])
    everyone = torch.arange(4)
    genuine = find_genuine(subjects, everyone, everyone)
    ranks = Ranker(points, "euclidean").ranks(everyone, everyone, genuine)
    assert filled(ranks) == [[2, 3], [2, 3], [1, 3], []]


def test_gallery_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="ordered by subject"):
        find_genuine(torch.tensor([0, 1]), torch.tensor([0]), torch.tensor([1, 0]))


def test_ranks_of_a_matrix_agree() -> None:
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(30, 5, generator=generator).round()
    subjects = torch.arange(30) // 5
    everyone = torch.arange(30)
    genuine = find_genuine(subjects, everyone, everyone)
    matrix = pair_distances(
        points, everyone[:, None].expand(30, 30), everyone.expand(30, 30), "euclidean"
    )
    expected = Ranker(points, "euclidean").ranks(everyone, everyone, genuine)
    assert ranks_of_matrix(matrix, genuine).equal(expected)


def test_metrics_by_hand() -> None:
    # nearest to farthest: genuine at 1 and 4; at 7; none at all
    ranks = torch.tensor([[1, 4], [7, 0], [0, 0]])
    values = {name: metric(ranks).tolist() for name, metric in METRICS.items()}
    assert values["rank1"] == [1, 0, 0]
    assert values["rank5"] == [1, 0, 0]
    assert values["rank10"] == [1, 1, 0]
    assert values["map"] == pytest.approx([(1 / 1 + 2 / 4) / 2, 1 / 7, 0])
    assert values["minp"] == pytest.approx([2 / 4, 1 / 7, 0])


def test_metrics_of_no_genuine_item_at_all_are_zero() -> None:
    for metric in METRICS.values():
        assert metric(torch.zeros(3, 0, dtype=torch.int64)).tolist() == [0, 0, 0]


def test_unit_length() -> None:
    points = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(unit_length(points), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_full_precision_is_restored() -> None:
    before = torch.get_float32_matmul_precision()
    with pytest.raises(KeyError), full_precision():
        assert torch.get_float32_matmul_precision() == "highest"
        raise KeyError
    assert torch.get_float32_matmul_precision() == before
