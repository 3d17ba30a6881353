"""Tiny synthetic walkers, and the command line run upon them in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

# early, so that Lightning's log goes to pytest's own capture and not to that of a single test
import gaitbench.cli  # noqa: F401
from gaitbench import synthetic
from gaitbench.__main__ import run

CONFIG = Path(__file__).parents[1] / "configs" / "gaitgraph2" / "casia_b.yaml"
SMALL = (
    "--data.frames=8",
    "--data.batch_size=8",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=2",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--evaluation.bootstrap=10",
)

LONGEST = ("test_distributed", "test_tutorial", "test_tools_pipeline", "test_recovery")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, lest one process does the last of them alone."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


WITH_CURVES = ("test_board", "test_callbacks", "test_callbacks_votes", "test_hyperparameters")


@pytest.fixture(autouse=True)
def few_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves for TensorBoard are drawn in tests of them alone; they cost more than a tiny run."""
    if request.path.stem not in WITH_CURVES:
        monkeypatch.setattr("gaitbench.callbacks.curves_of", lambda evaluation: {})


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def synthesize(out: Path, subjects: int) -> Path:
    """Walks of a few people, seen from two views."""
    return synthetic.synthesize_casia_b(
        out, subjects, 0, sequences={"nm": (1, 2, 5), "bg": (1,), "cl": (1,)}, views=(0, 90)
    )


@pytest.fixture(scope="session")
def walkers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Poses of two training subjects (001, 002) and two test subjects (075, 076)."""
    return synthesize(tmp_path_factory.mktemp("walkers"), 4)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the store, built once for all tests that read `walkers` unharmed."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUMVLP-Pose of four training subjects (odd numbers) and four test subjects."""
    return synthetic.synthesize_oumvlp(
        tmp_path_factory.mktemp("tree"), 8, 0, views=(0, 90), keypoints=("alphapose", "openpose")
    )


@pytest.fixture(scope="session")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DenseGait of twelve tracks."""
    return synthetic.synthesize_densegait(tmp_path_factory.mktemp("tracks"), 12, 0)


def newest_run(out: Path) -> Path:
    """The run's folder that was made last in ``out``."""
    return max((out / "lightning_logs").iterdir(), key=lambda p: int(p.name.split("_")[1]))


class Bench:
    """The command line upon small data: ``bench("fit", ...)`` returns the run's folder."""

    def __init__(self, walkers: Path, cache: Path, out: Path) -> None:
        self.walkers, self.cache, self.out = walkers, cache, out

    @property
    def here(self) -> list[str]:
        """Where data come from and results go."""
        return [
            f"--data.path={self.walkers}",
            f"--data.cache={self.cache}",
            f"--trainer.default_root_dir={self.out}",
        ]

    def words(self, command: str, *more: str) -> list[str]:
        """The whole command line."""
        return [command, f"--config={CONFIG}", *self.here, *SMALL, *more]

    def status(self, command: str, *more: str) -> int:
        """Exit status of the command."""
        return run(self.words(command, *more))

    def __call__(self, command: str, *more: str) -> Path:
        assert self.status(command, *more) == 0
        return newest_run(self.out)


@pytest.fixture
def bench(walkers: Path, cache: Path, tmp_path: Path) -> Bench:
    """Runs on `walkers` that leave their files in the test's own folder."""
    return Bench(walkers, cache, tmp_path)


@pytest.fixture(scope="session")
def checkpoint(walkers: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fit of two epochs leaves; learning rate 0.002, temperature 0.05, no augmentation."""
    bench = Bench(walkers, cache, tmp_path_factory.mktemp("fit"))
    settings = ("--model.learning_rate=0.002", "--model.temperature=0.05", "--model.tta=false")
    return bench("fit", *settings) / "checkpoints" / "last.ckpt"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[list[str]], str]]:
    """Run a command line that must be refused in one sentence; return the sentence."""

    def check(words: list[str]) -> str:
        capsys.readouterr()
        assert run(words) == 2
        errors = capsys.readouterr().err
        assert "Traceback" not in errors
        complaints = [line for line in errors.splitlines() if "error" in line]
        assert len(complaints) == 1
        assert complaints[0].startswith("gaitbench: error: ")
        assert errors.splitlines()[-1] == complaints[0]
        return complaints[0]

    yield check
