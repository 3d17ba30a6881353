"""GaitSet as a method: its loss, and a whole run on silhouettes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from gaitbench.callbacks import ProtocolEvaluation
from gaitbench.errors import InputError
from gaitbench.methods import GaitSet
from tests.methods.image_walks import ImageWalks
from tests.methods.test_gaitcopy import Bench, batch_of, fitted, run


def strip_loss(code: np.ndarray, subject: np.ndarray, hard: bool) -> float:
    """Triplets of each part, one by one; of a batch all, with the anchor as its own positive."""
    parts = []
    for part in code.reshape(len(code), 62, -1).transpose(1, 0, 2).astype(np.float64):
        distance = np.linalg.norm(part[:, None] - part, axis=2)
        terms = []
        for i in range(len(part)):
            same = subject == subject[i]
            if hard:
                terms.append(max(0, 0.2 + distance[i][same].max() - distance[i][~same].min()))
            else:
                excess = 0.2 + distance[i][same][:, None] - distance[i][~same]
                terms += excess[excess > 0].tolist()
        parts.append(np.mean(terms) if terms else 0)
    return float(np.mean(parts))


@pytest.mark.parametrize("mining", ["all", "hard"])
def test_the_loss_is_that_of_its_parts(mining: Any) -> None:
    torch.manual_seed(0)
    method = GaitSet(embedding_dim=62 * 4, mining=mining)
    code, subject = 0.3 * torch.randn(8, 62 * 4), torch.arange(8) // 2
    method.forward = lambda frames: frames  # type: ignore[method-assign]
    loss = Bench(method).step(batch_of(code.clone().requires_grad_(), subject))
    wanted = strip_loss(code.numpy(), subject.numpy(), mining == "hard")
    assert loss == pytest.approx(wanted, rel=1e-5)


def test_it_is_trained_as_published() -> None:
    method = GaitSet()
    assert sum(p.numel() for p in method.parameters()) == 2_594_592
    optimizer = Bench(method).optimizer
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["lr"] == 1e-4
    assert optimizer.param_groups[0]["weight_decay"] == 0
    opengait: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4}
    method = GaitSet(**opengait, rate="steps", milestones=(10_000, 20_000, 30_000))
    optimizer = Bench(method).optimizer
    assert type(optimizer) is torch.optim.SGD
    assert optimizer.param_groups[0]["momentum"] == 0.9
    # not scaled: what is compared is the code itself
    frames = torch.rand(2, 3, 64, 44, 1)
    assert torch.equal(method.eval().embed(frames), method.backbone(frames))
    with pytest.raises(InputError, match="GaitSet cuts 15 rows"):
        GaitSet("gray-25x60x60")(torch.zeros(1, 2, 60, 60, 1))
    assert GaitSet("gray-25x60x60", network="gaitset-copy", embedding_dim=62 * 4)(
        torch.zeros(1, 2, 60, 60, 1)
    ).shape == (1, 62 * 4)


@pytest.mark.filterwarnings("ignore")
def test_it_learns_to_tell_people_apart(tmp_path: Path) -> None:
    pl.seed_everything(0)
    data = ImageWalks("silhouette")
    method = GaitSet(data.skeleton, embedding_dim=62 * 8, learning_rate=3e-4)
    batch = data.batch(range(24))

    def loss() -> float:
        with torch.no_grad():
            return float(method.loss["triplet"](method(batch.frames), batch.subject))  # type: ignore[index,operator]

    before = loss()
    path = fitted(method, data, tmp_path, max_epochs=5)
    assert loss() < 0.8 * before
    run("test", GaitSet(data.skeleton, embedding_dim=62 * 8), data, path, ProtocolEvaluation())
    figures = json.loads((tmp_path / "metrics.json").read_text())["walks.votes"]["last"]
    assert figures["video_rank1"] == 1
    assert figures["videos"] == 6
