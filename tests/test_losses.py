from pathlib import Path

import numpy as np
import pytest
import torch

from gaitbench.losses import PairContrastive, SupervisedContrastive

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
