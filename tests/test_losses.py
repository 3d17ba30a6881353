import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gaitbench.errors import InputError
from gaitbench.losses import (
    AttributeLoss,
    BatchAllTriplet,
    Classification,
    GaitEncodingLoss,
    HardTriplet,
    LinearClassification,
    MinedTriplet,
    NeighbourContrast,
    PairContrastive,
    SemiHardTriplet,
    SignatureLoss,
    SimCLR,
    SupCon,
    SupervisedContrastive,
    Triplet,
    TwoViewContrastive,
    WeightedSum,
    class_loss,
    half_squares,
    locality_mask,
    unit_distances,
)
from tests.goldens import GAITFORMER, SGELA, gaitcopy_golden, golden

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
    distance = unit_distances(embedding)
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


@pytest.mark.parametrize(("case", "temperature"), [("small", 0.01), ("small", 0.07), ("big", 0.01)])
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


def views(seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors near each other, two a sequence, some people with two sequences."""
    torch.manual_seed(seed)
    embedding = torch.randn(1, 6) + 0.3 * torch.randn(12, 6).double()
    return F.normalize(embedding), torch.tensor([0, 1, 2, 0, 3, 1]).repeat_interleave(2)


@pytest.mark.parametrize("epsilon", [1e-6, 1e-2, 0.0])
@pytest.mark.parametrize("temperature", [0.001, 0.01, 0.1, 1.0])
def test_supcon_with_epsilon_against_loops(temperature: float, epsilon: float) -> None:
    """Value, and the gradient through the loops, in which the maximum stands still."""
    unit, subject = views()
    unit.requires_grad_()
    terms = []
    for i in range(12):
        s = [unit[i] @ unit[j] / temperature for j in range(12)]
        greatest = max(x.item() for x in s)
        total = sum(torch.exp(s[k] - greatest) for k in range(12) if k != i) + epsilon
        terms += [
            torch.stack(
                [
                    torch.log(total) - (s[j] - greatest)
                    for j in range(12)
                    if j != i and subject[j] == subject[i]
                ]
            ).mean()
        ]
    expected = temperature / 0.05 * torch.stack(terms).mean()
    found = SupCon(temperature, 0.05, epsilon)(unit, subject)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    ours, theirs = (torch.autograd.grad(loss, unit)[0] for loss in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


def test_supcon_without_epsilon_is_the_two_view_loss() -> None:
    unit, subject = views()
    found = SupCon(0.07, epsilon=0.0)(unit, subject)
    torch.testing.assert_close(found, TwoViewContrastive(0.07)(unit, subject))


def test_the_epsilon_leaves_far_negatives_alone() -> None:
    """Published settings: a negative at cosine 0.95, nearer than the positive at 0.9, is let be."""
    angles = torch.acos(torch.tensor([1.0, 0.9, 0.95], dtype=torch.float64))
    angles[2] *= -1  # on the other side, far from the positive
    unit = torch.stack((angles.cos(), angles.sin()), dim=1)
    pushed = {}
    for epsilon in (1e-6, 0.0):
        leaf = unit.clone().requires_grad_()
        SupCon(0.001, epsilon=epsilon)(leaf, torch.tensor([0, 0, 1])).backward()
        pushed[epsilon] = float(leaf.grad[2].abs().max())
    assert pushed[1e-6] < 1e-12
    assert pushed[0.0] > 1


def test_supcon_counts_a_vector_without_positive_as_nothing() -> None:
    unit, subject = views()
    alone = torch.cat((subject[:-1], torch.tensor([9])))
    found = SupCon(0.1)(unit[[0, 1, -1]], alone[[0, 1, -1]])
    pair = [SupCon(0.1)(unit[[0, 1, -1]].roll(k, 0), alone[[0, 1, -1]].roll(k)) for k in (1, 2)]
    assert all(torch.isfinite(x) and torch.isclose(x, found) for x in pair)
    assert SupCon(0.1)(unit[:3], torch.arange(3)) == 0


@pytest.mark.parametrize("temperature", [0.001, 0.1])
def test_simclr_against_loops(temperature: float) -> None:
    torch.manual_seed(6)
    embedding = torch.randn(8, 5, dtype=torch.float64)
    unit = embedding / embedding.norm(dim=1, keepdim=True)
    terms = []
    for i in range(8):
        other = i + 1 if i % 2 == 0 else i - 1
        s = np.array([float(unit[i] @ u) / temperature for u in unit])
        rest = np.delete(s, i)
        terms.append(np.log(np.exp(rest - rest.max()).sum()) + rest.max() - s[other])
    found = SimCLR(temperature)(embedding, torch.zeros(8))
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-9)
    with pytest.raises(InputError, match=r"found 7 windows; give data.train_windows 2"):
        SimCLR(temperature)(embedding[:7], torch.zeros(7))


@pytest.mark.parametrize("loss", [SupCon(0.01), SimCLR(0.01)], ids=["supcon", "simclr"])
def test_cosines_are_not_rounded_under_autocast(loss: torch.nn.Module) -> None:
    unit, subject = views()
    unit = unit.float()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(unit, subject)
    torch.testing.assert_close(found, loss(unit, subject))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SupCon(0.0), "temperature is 0.0; give more than 0"),
        (lambda: SupCon(0.1, base_temperature=0.0), "base_temperature is 0.0; give more than 0"),
        (lambda: SupCon(0.1, epsilon=-1.0), "epsilon is -1.0; give 0 or more"),
        (lambda: SimCLR(-1.0), "temperature is -1.0; give more than 0"),
    ],
)
def test_settings_of_view_losses_are_checked(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


GAITFORMER_LOSSES = golden("losses", GAITFORMER)
TEMPERATURES = ["0.001", "0.01", "0.07"]


@pytest.mark.parametrize("case", ["spread/unique", "spread/repeat", "tight/unique", "tight/repeat"])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_supcon_is_the_references(temperature: str, case: str) -> None:
    data, name = GAITFORMER_LOSSES, f"supcon/T{temperature}/{case}"
    spread, labels = case.split("/")
    features = torch.from_numpy(data[f"feat_{spread}"]).requires_grad_()
    subject = torch.from_numpy(data[f"labels_{labels}"]).repeat_interleave(2)
    loss = SupCon(float(temperature))(features.flatten(0, 1), subject)
    assert loss.item() == pytest.approx(float(data[f"{name}/loss"]), rel=1e-9, abs=1e-9)
    (gradient,) = torch.autograd.grad(loss, features)
    np.testing.assert_allclose(gradient, data[f"{name}/grad"], rtol=0, atol=1e-9)
    single = SupCon(float(temperature))(features.detach().float().flatten(0, 1), subject)
    assert single.item() == pytest.approx(float(data[f"{name}/loss_f32"]), abs=5e-5)


def test_supcon_without_labels_tells_every_sequence_from_every_other() -> None:
    data, name = GAITFORMER_LOSSES, "supcon/T0.07/spread/none"
    features = torch.from_numpy(data["feat_spread"]).requires_grad_()
    loss = SupCon(0.07)(features.flatten(0, 1), torch.arange(12).repeat_interleave(2))
    assert loss.item() == pytest.approx(float(data[f"{name}/loss"]), rel=1e-9)
    (gradient,) = torch.autograd.grad(loss, features)
    np.testing.assert_allclose(gradient, data[f"{name}/grad"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_simclr_is_the_references(temperature: str) -> None:
    data, name = GAITFORMER_LOSSES, f"simclr/T{temperature}"
    features = torch.from_numpy(data["feat_simclr"]).requires_grad_()
    loss = SimCLR(float(temperature))(features, torch.zeros(24))
    assert loss.item() == pytest.approx(float(data[f"{name}/loss"]), rel=1e-9, abs=1e-9)
    (gradient,) = torch.autograd.grad(loss, features)
    np.testing.assert_allclose(gradient, data[f"{name}/grad"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("temperature", ["0.001", "0.01"])
def test_both_tasks_are_the_references(temperature: str) -> None:
    """One case has predictions of exactly 0 and 1, where a logarithm counts as -100."""
    data = {
        name.split("/")[-1]: torch.from_numpy(value)
        for name, value in GAITFORMER_LOSSES.items()
        if name.startswith(f"multitask/T{temperature}/")
    }
    projection = torch.from_numpy(GAITFORMER_LOSSES["multitask/projection"]).requires_grad_()
    told = data["appearance_pred"].requires_grad_()
    people = SupCon(float(temperature))(projection, data["track_id"])
    looks = AttributeLoss()(told, data["appearance_target"])
    for found, name in ((people, "recognition"), (looks, "appearance")):
        assert found.item() == pytest.approx(data[f"loss_{name}"].item(), rel=1e-9)
    whole = people + 0.5 * looks
    assert whole.item() == pytest.approx(data["loss"].item(), rel=1e-9)
    gradients = torch.autograd.grad(whole, (projection, told))
    torch.testing.assert_close(gradients[0], data["grad_projection"], rtol=1e-9, atol=1e-9)
    certain = (told == 0) | (told == 1)  # where the gradient has no meaning
    assert int(certain.sum()) == (3 if temperature == "0.01" else 0)
    expected = data["grad_appearance"]
    torch.testing.assert_close(gradients[1][~certain], expected[~certain], rtol=1e-9, atol=1e-9)


def test_attribute_loss_against_loops_and_under_autocast() -> None:
    torch.manual_seed(7)
    told, given = torch.rand(3, 4), torch.rand(3, 4, dtype=torch.float64)
    told[0, 0], given[0, 0] = 0, 0.5
    terms = []
    for p, y in zip(told.double().flatten(), given.flatten(), strict=True):
        yes, no = (max(float(torch.log(x)), -100.0) for x in (p, 1 - p))
        terms.append(-float(y) * yes - (1 - float(y)) * no)
    with torch.autocast("cpu", torch.bfloat16):
        found = AttributeLoss()(told, given)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-5)


def test_locality_masks_are_the_authors() -> None:
    for name, mask in golden("la_objective", SGELA).items():
        assert np.array_equal(locality_mask(int(name.removeprefix("f"))).numpy(), mask)


def test_gait_encoding_loss_is_a_sum_term_by_term() -> None:
    random = torch.Generator().manual_seed(0)
    outputs, target = (torch.randn(4, 5, 3, 2, generator=random) for _ in range(2))
    alignments = torch.randn(2, 4, 5, 5, generator=random).softmax(-1)
    error, astray = GaitEncodingLoss(5)(outputs, target, alignments)
    for axis in range(2):
        wanted = 0.0
        for step, frame in itertools.product(range(5), range(5)):
            near = np.exp(-((frame - (4 - step)) ** 2) / (2 * 2.5**2))
            for a in alignments[axis, :, step, frame].tolist():
                wanted += 0.5 * (a - a * near) ** 2
        assert astray[axis].item() == pytest.approx(wanted, rel=1e-5)
        gap = (outputs - target)[..., axis].flatten().tolist()
        assert error[axis].item() == pytest.approx(sum(0.5 * e * e for e in gap), rel=1e-5)
    basic, nothing = GaitEncodingLoss(5, "basic")(outputs, target, alignments)
    assert torch.equal(basic, error) and nothing.tolist() == [0, 0]
    assert half_squares([outputs, target]).item() == pytest.approx(
        0.5 * (outputs.square().sum() + target.square().sum()).item(), rel=1e-5
    )


def test_neighbour_contrast_is_its_sum() -> None:
    vectors = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    found = NeighbourContrast(0.2)(vectors)
    for axis, v in enumerate(vectors):
        z = [*v[1:], *v[:-1]]
        total = 0.0
        for i in range(8):
            s = [float(F.cosine_similarity(z[i], z[k], dim=0)) / 0.2 for k in range(8)]
            share = np.exp(s[(i + 4) % 8]) / (sum(map(np.exp, s)) - np.exp(s[i]))
            total -= np.log(share) / 8
        assert found[axis].item() == pytest.approx(total, rel=1e-9)
    with pytest.raises(InputError, match="2 sequences or more, found 1"):
        NeighbourContrast()(vectors[:, :1])
    with pytest.raises(InputError, match="temperature is 0"):
        NeighbourContrast(0)


COPY, COPY_VALUES = gaitcopy_golden("losses")
PEOPLE = torch.from_numpy(COPY["labels"][:, 0]).long()
ONE = torch.zeros_like(PEOPLE)


def is_the_authors(name: str, loss: Callable[[torch.Tensor], torch.Tensor], values: str) -> None:
    x = torch.from_numpy(COPY[values]).requires_grad_()
    value = loss(x)
    value.backward()
    assert value.item() == pytest.approx(COPY_VALUES[name], rel=1e-6)
    assert x.grad is not None
    assert np.abs(x.grad.numpy() - COPY[f"{name}/grad"]).max() < 5e-8


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("smoothL1_d0.5", SignatureLoss()),
        ("smoothL1_d0.25", SignatureLoss(delta=0.25)),
        ("smoothL1_d1.0", SignatureLoss(delta=1.0)),
        ("huber_d0.5", SignatureLoss("huber")),
        ("mse", SignatureLoss("mse")),
    ],
)
def test_losses_of_signatures_are_the_authors(name: str, loss: SignatureLoss) -> None:
    is_the_authors(name, lambda x: loss(x, torch.from_numpy(COPY["target"])), "emb")


@pytest.mark.parametrize("margin", [0.25, 1.0])
@pytest.mark.parametrize(
    ("name", "values", "kind", "squared"),
    [
        ("triplet_batchall_m{}_raw", "emb", BatchAllTriplet, False),
        ("triplet_batchall_m{}_l2", "emb_l2", BatchAllTriplet, False),
        ("triplet_semihard_L2_m{}", "emb_l2", SemiHardTriplet, False),
        ("triplet_semihard_sqL2_m{}", "emb_l2", SemiHardTriplet, True),
        ("triplet_hard_L2_m{}", "emb_l2", HardTriplet, False),
    ],
)
def test_triplet_losses_are_the_authors(
    name: str, values: str, kind: type[MinedTriplet], squared: bool, margin: float
) -> None:
    loss = kind(margin, unit=False, squared=squared)
    is_the_authors(name.format(margin), lambda x: loss(x, PEOPLE), values)
    if values == "emb_l2":
        raw = torch.from_numpy(COPY["emb"])
        found = float(kind(margin, squared=squared)(3 * raw, PEOPLE))
        assert found == pytest.approx(COPY_VALUES[name.format(margin)], rel=1e-5)


def test_soft_triplets_and_batches_without_a_negative_are_the_authors() -> None:
    soft = SemiHardTriplet(None, unit=False, squared=True)
    is_the_authors("triplet_semihard_softplus", lambda x: soft(x, PEOPLE), "emb_l2")
    is_the_authors("triplet_semihard_softplus_singleclass", lambda x: soft(x, ONE), "emb_l2")
    hinge = SemiHardTriplet(0.25, unit=False)
    is_the_authors("triplet_semihard_singleclass", lambda x: hinge(x, ONE), "emb_l2")
    every = BatchAllTriplet(unit=False)
    is_the_authors("triplet_batchall_singleclass", lambda x: every(x, ONE), "emb")
    same = torch.ones(24, 32, requires_grad=True)
    value = every(same, PEOPLE)
    (gradient,) = torch.autograd.grad(value, same)
    assert value.item() == pytest.approx(COPY_VALUES["triplet_batchall_identical"])
    assert not gradient.any()
    nobody = BatchAllTriplet(unit=False)(torch.randn(4, 2), torch.arange(4))
    assert nobody == 0 and SemiHardTriplet()(torch.randn(4, 2), torch.arange(4)) == 0


@pytest.mark.parametrize("size", ["", "_small"])
def test_the_loss_of_parts_is_the_authors(size: str) -> None:
    name = "strip_batchall_m0.2"
    loss = BatchAllTriplet(0.2, unit=False, parts=5, itself=True)
    parts = torch.from_numpy(COPY[f"parts{size}"]).requires_grad_()  # (5, 24, 16)
    value = loss(parts.transpose(0, 1).flatten(1), PEOPLE)
    value.backward()
    assert parts.grad is not None
    wrong = np.abs(parts.grad.numpy() - COPY[f"{name}{size}/grad"]).max()
    # near each other, the authors' distances lose digits
    assert value.item() == pytest.approx(COPY_VALUES[name + size], rel=2e-4 if size else 1e-6)
    assert wrong < (0.01 * np.abs(COPY[f"{name}{size}/grad"]).max() if size else 5e-8)
    if size:
        without = BatchAllTriplet(0.2, unit=False)
        wanted = COPY_VALUES["triplet_batchall_m0.2_small_strip0"]
        assert float(without(parts[0].detach(), PEOPLE)) == pytest.approx(wanted, rel=2e-4)


@pytest.mark.parametrize("itself", [False, True])
def test_mined_triplets_against_loops(itself: bool) -> None:
    torch.manual_seed(4)
    embedding, subject = torch.randn(9, 8, dtype=torch.float64), [0, 0, 0, 1, 1, 2, 2, 2, 3]
    losses: dict[str, list[float]] = {"all": [], "semi": [], "hard": []}
    for part in embedding.view(9, 2, 4).unbind(1):
        distance = [[float((a - b).norm()) for b in part] for a in part]
        terms: dict[str, list[float]] = {"all": [], "semi": [], "hard": []}
        for a in range(9):
            others = [distance[a][n] for n in range(9) if subject[n] != subject[a]]
            own = [p for p in range(9) if subject[p] == subject[a]]
            terms["hard"].append(max(0, max(distance[a][p] for p in own) - min(others) + 0.5))
            for p in own:
                if itself or p != a:
                    terms["all"] += [max(0, distance[a][p] - far + 0.5) for far in others]
                if p != a:
                    far = min((n for n in others if n > distance[a][p]), default=max(others))
                    terms["semi"].append(max(0, distance[a][p] - far + 0.5))
        losses["all"].append(float(np.mean([term for term in terms["all"] if term > 0])))
        losses["semi"].append(float(np.mean(terms["semi"])))
        losses["hard"].append(float(np.mean(terms["hard"])))
    kinds = {
        "all": BatchAllTriplet(0.5, False, parts=2, itself=itself),
        "semi": SemiHardTriplet(0.5, False, parts=2),
        "hard": HardTriplet(0.5, False, parts=2),
    }
    for name, kind in kinds.items():
        found = float(kind(embedding, torch.tensor(subject)))
        assert found == pytest.approx(np.mean(losses[name]), rel=1e-9)


def test_cross_entropy_of_the_authors_and_of_their_program() -> None:
    is_the_authors("sparse_ce_softmax", lambda x: class_loss(x, PEOPLE), "logits")
    name = "QUIRK_sparse_ce_on_linear_scores"
    is_the_authors(name, lambda x: class_loss(x, PEOPLE, released=True), "logits")
    head = LinearClassification(8, 3)
    x = torch.randn(5, 8)
    assert torch.equal(head(x, PEOPLE[:5] % 3), F.cross_entropy(head.probs(x), PEOPLE[:5] % 3))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SignatureLoss(delta=0), "delta is 0"),
        (lambda: SemiHardTriplet(-1), "triplet margin is -1"),
        (lambda: LinearClassification(4, 1), "at least 2 training subjects, found 1"),
    ],
)
def test_settings_of_gaitcopys_losses_are_checked(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
