import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gaitbench.errors import InputError
from gaitbench.losses import (
    Classification,
    PairContrastive,
    SupervisedContrastive,
    Triplet,
    TwoViewContrastive,
    WeightedSum,
)
from tests.goldens import golden

GOLDEN = np.load(Path(__file__).parent / "golden" / "gaitgraph" / "losses.npz")
CASES = ["small", "clustered", "singletons", "allunique", "allsame", "duplicates"]
LOSSES = {
    "supcon_t0.01": SupervisedContrastive(0.01),
    "supcon_t0.07": SupervisedContrastive(0.07),
    "contrastive": PairContrastive(),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_are_the_references(case: str, name: str) -> None:
    subject = torch.from_numpy(GOLDEN[f"{case}_labels"])
    embedding = torch.from_numpy(GOLDEN[f"{case}_emb"])
    single = LOSSES[name](embedding, subject)
    assert torch.allclose(single, torch.tensor(GOLDEN[f"{case}_{name}_loss"]), 1e-4, 1e-4)

    double = embedding.double().requires_grad_()
    loss = LOSSES[name](double, subject)
    assert loss.item() == pytest.approx(float(GOLDEN[f"{case}_{name}_loss_f64"]), 1e-6, 1e-6)
    (gradient,) = torch.autograd.grad(loss, double)
    want = torch.from_numpy(GOLDEN[f"{case}_{name}_grad"]).double()
    assert (gradient - want).abs().max() <= 1e-5 * max(float(want.abs().max()), 1.0)


@pytest.mark.parametrize("case", CASES)
def test_distances_are_the_references(case: str) -> None:
    embedding = torch.from_numpy(GOLDEN[f"{case}_emb"])
    distance = SupervisedContrastive(0.01).loss.distance(embedding)
    # of a vector to itself a product loses half its digits
    wrong = (distance - torch.from_numpy(GOLDEN[f"{case}_dist"])).abs().fill_diagonal_(0)
    assert wrong.max() < 1e-4


def supcon_by_loops(embedding: torch.Tensor, subject: list[int], temperature: float) -> float:
    unit = embedding / embedding.norm(dim=1, keepdim=True)
    losses = []
    for i in range(len(unit)):
        s = [-float((unit[i] - u).norm()) / temperature for u in unit]
        positives = [j for j in range(len(unit)) if j != i and subject[j] == subject[i]]
        if positives:
            total = np.log(sum(np.exp(s[k]) for k in range(len(unit)) if k != i))
            losses.append(-np.mean([s[j] - total for j in positives]))
    losses = [loss for loss in losses if loss > 0]
    return float(np.mean(losses)) if losses else 0.0


def test_supervised_contrastive_against_loops() -> None:
    torch.manual_seed(0)
    embedding, subject = torch.randn(9, 5, dtype=torch.float64), [0, 0, 0, 1, 1, 2, 2, 2, 3]
    loss = SupervisedContrastive(0.1)(embedding, torch.tensor(subject))
    assert float(loss) == pytest.approx(supcon_by_loops(embedding, subject, 0.1), rel=1e-6)
    order = torch.randperm(9)
    shuffled = SupervisedContrastive(0.1)(embedding[order], torch.tensor(subject)[order])
    assert float(shuffled) == pytest.approx(float(loss), rel=1e-9)


def test_triplet_against_loops() -> None:
    torch.manual_seed(1)
    embedding, subject = torch.randn(8, 4, dtype=torch.float64), [0, 0, 0, 1, 1, 2, 2, 3]
    unit = embedding / embedding.norm(dim=1, keepdim=True)
    terms = [
        float((unit[a] - unit[p]).norm() - (unit[a] - unit[n]).norm()) + 0.3
        for a, p, n in itertools.product(range(8), repeat=3)
        if a != p and subject[a] == subject[p] and subject[a] != subject[n]
    ]
    terms = [term for term in terms if term > 0]
    found = Triplet(0.3)(embedding, torch.tensor(subject))
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-6)


def test_classification_is_blind_to_size_and_learns_who_is_who() -> None:
    torch.manual_seed(2)
    loss = Classification(6, num_subjects=5).double()
    embedding, subject = torch.randn(10, 6, dtype=torch.float64), torch.arange(10) % 5
    # by hand: batch statistics, unit vectors, cosines
    neck = (embedding - embedding.mean(0)) / (embedding.var(0, unbiased=False) + 1e-5).sqrt()
    unit = neck / neck.norm(dim=1, keepdim=True)
    weight = loss.weight / loss.weight.norm(dim=1, keepdim=True)
    expected = F.cross_entropy(16 * unit @ weight.T, subject)
    torch.testing.assert_close(loss(embedding, subject), expected)
    # the neck has no shift to learn
    assert [name for name, p in loss.named_parameters() if p.requires_grad] == [
        "weight",
        "neck.weight",
    ]
    optimizer = torch.optim.Adam([p for p in loss.parameters() if p.requires_grad], 0.1)
    before = expected.item()
    for _ in range(30):
        optimizer.zero_grad()
        loss(embedding, subject).backward()
        optimizer.step()
    assert loss(embedding, subject).item() < before / 4


def test_a_sum_weighs_its_losses_and_leaves_out_zeros() -> None:
    torch.manual_seed(3)
    embedding, subject = torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    one, two, never = SupervisedContrastive(0.1), Triplet(0.2), PairContrastive()
    both = WeightedSum([(0.5, one), (0.0, never), (2.0, two)])
    expected = 0.5 * one(embedding, subject) + 2 * two(embedding, subject)
    torch.testing.assert_close(both(embedding, subject), expected)
    assert list(both.losses) == [one, two]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Triplet(0.0), "triplet margin is 0.0; give more than 0"),
        (lambda: Classification(4, 1), "needs at least 2 training subjects, found 1"),
        (lambda: WeightedSum([(0.0, PairContrastive())]), "all losses have weight 0"),
    ],
)
def test_settings_of_losses_are_checked(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize("temperature", [0.01, 0.07])
@pytest.mark.parametrize("case", ["small", "big"])
def test_two_view_loss_is_the_references(case: str, temperature: float) -> None:
    data, name = golden("gaitgraph1_loss"), f"{case}_t{temperature}"
    features = torch.from_numpy(data[f"{case}_features"]).double().requires_grad_()
    subject = torch.from_numpy(data[f"{case}_labels"]).repeat_interleave(2)
    loss = TwoViewContrastive(temperature)(features.flatten(0, 1), subject)
    assert loss.item() == pytest.approx(float(data[f"{name}_loss_f64"]), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, features)
    expected = data[f"{name}_grad"]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_two_view_loss_against_loops() -> None:
    torch.manual_seed(4)
    unit = F.normalize(torch.randn(7, 5, dtype=torch.float64))
    subject = [0, 0, 0, 1, 1, 2, 2]
    terms = []
    for i in range(7):
        s = [float(unit[i] @ u) / 0.1 for u in unit]
        total = np.log(sum(np.exp(s[k]) for k in range(7) if k != i))
        terms.append(
            np.mean([total - s[j] for j in range(7) if j != i and subject[j] == subject[i]])
        )
    found = TwoViewContrastive(0.1)(unit, torch.tensor(subject))
    assert float(found) == pytest.approx(np.mean(terms) * 0.1 / 0.07, rel=1e-6)
