"""Averaged weights: what checkpoints hold, and that runs resume to them."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.conftest import Bench

TAIL = {"class_path": "TailAveraging", "init_args": {"start": 0.5}}
MOVING = {"class_path": "EMAWeightAveraging", "init_args": {"decay": 0.9}}
EVERY = {"class_path": "ModelCheckpoint", "init_args": {"save_top_k": -1, "filename": "{epoch}"}}


def fitted(bench: Bench, averaging: dict, *more: str) -> Path:
    """The checkpoints of a fit of four epochs."""
    callbacks = f"--trainer.callbacks={json.dumps([EVERY, averaging])}"
    return bench("fit", "--trainer.max_epochs=4", callbacks, *more) / "checkpoints"


def weights(path: Path, name: str = "state_dict") -> dict[str, Tensor]:
    return torch.load(path, weights_only=True)[name]


def test_a_tail_average_is_the_mean_of_the_last_epochs(bench: Bench) -> None:
    folder = fitted(bench, TAIL)
    first, second, third, fourth = (folder / f"epoch={epoch}.ckpt" for epoch in range(4))
    for early in (first, second):  # plain checkpoints until the averaging begins
        assert "current_model_state" not in torch.load(early, weights_only=True)
    name, current = "backbone.fcn.weight", "current_model_state"
    last = [weights(path, current)[name] for path in (third, fourth)]
    assert not torch.equal(*last)
    torch.testing.assert_close(weights(third)[name], last[0])
    torch.testing.assert_close(weights(fourth)[name], sum(last) / 2)


@pytest.mark.parametrize(("averaging", "epoch"), [(TAIL, 1), (TAIL, 2), (MOVING, 1)])
def test_an_averaged_run_resumes_to_the_same_weights(
    bench: Bench, averaging: dict, epoch: int
) -> None:
    """A tail from before the averaging began, and from within."""
    folder = fitted(bench, averaging)
    again = fitted(bench, averaging, f"--ckpt_path={folder / f'epoch={epoch}.ckpt'}")
    for kind in ("state_dict", "current_model_state"):
        whole, resumed = (weights(f / "epoch=3.ckpt", kind) for f in (folder, again))
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_averaged_weights_are_tested_without_a_word(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = fitted(bench, MOVING) / "epoch=3.ckpt"
    capsys.readouterr()
    bench("test", f"--ckpt_path={checkpoint}", f"--trainer.callbacks={json.dumps([MOVING])}")
    assert "WeightAveraging" not in capsys.readouterr().err


def test_a_tail_needs_its_end(bench: Bench, refused) -> None:
    words = bench.words("fit", f"--trainer.callbacks={json.dumps([TAIL])}")
    message = refused([*words, "--trainer.max_epochs=-1", "--trainer.max_steps=3"])
    assert "TailAveraging counts epochs; give trainer.max_epochs above 0" in message
