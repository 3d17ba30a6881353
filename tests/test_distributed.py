"""Two and three processes compute what one computes: the same steps, weights and tables."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import newest_run, synthesize
from tests.ks20_tree import write_ks20

CONFIGS = Path(__file__).parents[1] / "configs"
SCRIPT = Path(__file__).with_name("distributed_runs.py")
STEPS = 20
PROCESSES = (1, 2, 3)
COLUMNS = ("start", "length", "subject", "condition", "number", "view")
QUIET = ("enable_progress_bar=false", "enable_model_summary=false", "accelerator=cpu")

# method -> config, and settings that make it small
RUNS: dict[str, tuple[str, ...]] = {
    "gaitgraph2": (
        "gaitgraph2/casia_b",
        "--data.frames=8",
        # 60 sequences: two batches of 24 and one of 12
        "--data.batch_size=24",
        "--data.augmentation.scale=0.1",
        "--data.augmentation.joint_dropout=0.1",
        # see docs/scaling.md: its rectifiers make much of float32's last digit
        "--trainer.precision=64-true",
    ),
    "gaitformer": (
        "gaitformer/casia_b",
        "--model.phases=[]",
        "--model.period=8",
        "--model.width=32",
        "--model.depth=2",
        "--model.dropout=0",
        "--model.learning_rate=0.001",
        "--data.frames=8",
        "--data.batch_size=12",
        "--data.augmentation.pace=interpolated",
        "--data.augmentation.permutation=0.5",
        "--data.augmentation.permutation_size=2",
        "--evaluation.protocols=[casia_b.cross_view]",
    ),
    "sgela": (
        "sgela/ks20",
        "--model.hidden=16",
        "--model.contrast_weight=1",
        "--data.batch_size=24",
        "--data.keep_tail=true",
        # its loss is a sum of about 700, of which float32 keeps 1e-4
        "--trainer.precision=64-true",
    ),
    "gaitset": (
        "gaitset/silhouettes",
        "--model.embedding_dim=248",
        "--data.frames=2",
        "--data.batch_size=12",
        "--data.sequences_per_subject=2",
        "--data.eval_batch_size=7",
        # as for GaitGraph2: which frame of a set is the largest hangs on the last digit
        "--trainer.precision=64-true",
    ),
}

# what losses and weights may differ by; in single precision a weight whose gradient is rounding
# alone (biases of keys) goes as far as the rate lets it
LOSS = {"gaitgraph2": 1e-9, "gaitformer": 1e-5, "sgela": 1e-9, "gaitset": 1e-9}
WEIGHT = {"gaitgraph2": 1e-8, "gaitformer": 4e-3, "sgela": 1e-9, "gaitset": 1e-9}


def silhouettes(path: Path) -> Path:
    """Walks of noise with something of their own, of six people who train and three who do not."""
    random, table, frames = np.random.default_rng(0), [], []
    for subject in ("001", "002", "003", "004", "006", "007", "075", "076", "077"):
        own = random.random((64, 44))
        for number, view in ((1, 0), (1, 90), (5, 0), (5, 90)):
            length = int(random.integers(2, 5))
            shown = 0.6 * own + 0.4 * random.random((length, 64, 44)) > 0.5
            walk = (sum(map(len, frames)), length, subject, "nm", number, view)
            table.append(dict(zip(COLUMNS, walk, strict=True)))
            frames.append(255 * shown.astype(np.uint8))
    columns = {name: np.array([walk[name] for walk in table]) for name in COLUMNS}
    np.savez(path, frames=np.concatenate(frames), **columns)
    return path


class Runs:
    """What each method did in 1, 2 and 3 processes."""

    def __init__(self, out: Path) -> None:
        self.out = out
        data = {
            "gaitgraph2": synthesize(out / "walkers", 12),
            "gaitset": silhouettes(out / "silhouettes.npz"),
            "sgela": out / "ks20",
        }
        write_ks20(data["sgela"], frames=30)
        data["gaitformer"] = data["gaitgraph2"]
        data = {name: data[name] for name in RUNS}
        self.launch(data)

    def launch(self, data: dict[str, Path]) -> None:
        """Train in each number of processes, and judge what one process has trained."""
        groups: dict[int, list[list[str]]] = {}
        for processes in PROCESSES:
            commands = groups[processes] = []
            for name, path in data.items():
                words = self.words(processes, name, path)
                run = self.at(1, name) / "lightning_logs" / "version_0"
                trained = run / "checkpoints" / "last.ckpt"
                commands.append(["fit", *words, f"--trainer.max_steps={STEPS}"])
                commands.append(["test", *words, f"--ckpt_path={trained}"])
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(SCRIPT), json.dumps(groups)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1500,
        )
        assert done.returncode == 0, done.stdout

    def at(self, processes: int, name: str) -> Path:
        return self.out / f"{name}{processes}"

    def words(self, processes: int, name: str, path: Path) -> list[str]:
        config, *settings = RUNS[name]
        out = self.at(processes, name)
        out.mkdir()
        strategy = ["--trainer.strategy=ddp"]
        return [
            f"--config={CONFIGS / config}.yaml",
            *settings,
            # a fresh cache each, whose stores all processes ask for at once
            f"--data.path={path}",
            f"--data.cache={out / 'cache'}",
            f"--trainer.default_root_dir={out}",
            "--trainer.max_epochs=-1",
            f"--trainer.devices={processes}",
            *(strategy if processes > 1 else []),
            *(f"--trainer.{word}" for word in QUIET),
            "--evaluation.bootstrap=10",
        ]

    def steps(self, processes: int, name: str) -> list[list[dict[str, Any]]]:
        """Of each process what its steps saw."""
        files = [self.at(processes, name) / f"steps{rank}.json" for rank in range(processes)]
        return [json.loads(file.read_text()) for file in files]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


SHARED = pytest.mark.parametrize("processes", [2, 3])
METHODS = pytest.mark.parametrize("name", RUNS)


@SHARED
@METHODS
def test_batches_and_losses_are_those_of_one_process(name: str, processes: int, runs: Runs) -> None:
    (alone,) = runs.steps(1, name)
    together = runs.steps(processes, name)
    assert len(alone) == STEPS
    assert {len(steps) for steps in together} == {STEPS}
    for step, parts in zip(alone, zip(*together, strict=True), strict=True):
        # each process has its share of the batch, and every window is what it was
        assert [row for part in parts for row in part["rows"]] == step["rows"]
        seen = [value for part in parts for value in part["seen"]]
        np.testing.assert_allclose(seen, step["seen"], rtol=1e-5, atol=1e-4)
        # all of them log the loss of the global batch
        assert len({part["loss"] for part in parts}) == 1
    losses = np.array([[steps[i]["loss"] for i in range(STEPS)] for steps in (alone, together[0])])
    assert len(np.unique(losses[0])) == STEPS
    np.testing.assert_allclose(losses[1], losses[0], 0, LOSS[name])


@SHARED
@METHODS
def test_weights_are_those_of_one_process(name: str, processes: int, runs: Runs) -> None:
    """Running statistics too."""
    alone = torch.load(runs.at(1, name) / "weights0.pt", weights_only=True)
    for rank in range(processes):
        found = torch.load(runs.at(processes, name) / f"weights{rank}.pt", weights_only=True)
        assert found.keys() == alone.keys()
        for key, value in alone.items():
            assert torch.allclose(found[key], value, atol=WEIGHT[name], rtol=0), key


@SHARED
@METHODS
def test_tables_are_those_of_one_process(name: str, processes: int, runs: Runs) -> None:
    one, several = newest_run(runs.at(1, name)), newest_run(runs.at(processes, name))
    names = sorted(path.name for path in (one / "tables").glob("*.csv"))
    assert names
    for file in ("metrics.json", *(f"tables/{name}" for name in names)):
        assert (several / file).read_bytes() == (one / file).read_bytes()


@SHARED
def test_a_store_is_built_once(processes: int, runs: Runs) -> None:
    """Into an empty cache, by processes that all ask at once."""
    for name in RUNS:
        cache = runs.at(processes, name) / "cache"
        assert len([path for path in cache.iterdir() if path.is_dir()]) == 1
