"""Model cards: what a checkpoint is, of what it was made, and what it must not be used for.

The card lies in the run's folder, above its checkpoints. ``fit`` writes it once the training has
ended; a ``test`` of one of these checkpoints adds its figures.
"""

import datetime
import inspect
import json
import logging
import platform
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import yaml

import gaitbench
from gaitbench.callbacks import ProtocolEvaluation, run_directory
from gaitbench.files import CONFIG, METRICS, written_whole
from gaitbench.protocols.results import counted

CARD = "model_card.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"

FIGURES = {
    "rank1": "rank-1",
    "video_rank1": "rank-1 of videos",
    "rank5": "rank-5",
    "map": "mean average precision",
    "eer": "equal error rate",
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "macro_auroc": "AUROC, mean over attributes",
}
"""Name in ``metrics.json`` -> what a card calls it; the others stand in that file."""

UNTESTED = (
    "None: it was not tested. `gaitbench test --ckpt_path` of a checkpoint here writes them down."
)

USE = f"""## Intended use

Research on gait recognition: comparing methods under the protocols named above, and work on
recordings of people who have consented to it. An embedding is compared with others of the same
network; it is a likeness, never a proof of identity.

## Not to be used for

- Identifying, following or searching for people who have not consented, in public or at work.
- Decisions about a person: police, border, employment, credit, insurance, health.
- Telling a person's gender, age, origin, health or mood as a fact. Attributes of a network are
  guesses about a set of people, and wrong for many of them.
- Access control by itself: how often strangers are accepted depends on who tries, and nothing here
  was tested against people who imitate a walk.

## Limits

- Figures hold for the data and the protocol they stand beside. Other cameras, views, clothing,
  floors, frame rates and pose estimators give others, mostly lower ones.
- Nothing here tells how figures differ by gender, age, build or origin, unless a table above is by
  that attribute.
- Embeddings, and the poses they are made of, are biometric data of the people who walked; they may
  have to be kept and deleted as such. Terms of the training data bind the weights too.
- `{CONFIG}` beside holds all settings; a run of another version may differ in the last digits.
"""

logger = logging.getLogger(__name__)


class ModelCard(pl.Callback):
    """Writes the card of a training that has ended, and adds figures of tests to it."""

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the card, if the run keeps checkpoints."""
        folder = run_directory(trainer)
        kept = any(_checkpoints(trainer)) and not trainer.fast_dev_run  # type: ignore[attr-defined]
        if trainer.is_global_zero and kept and not trainer.interrupted:
            with written_whole(folder / CARD) as path:
                path.write_text(card(trainer, pl_module, folder), encoding="utf-8")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the figures to the card of the checkpoint, if it has one and something was judged."""
        run = run_directory(trainer)
        if not trainer.is_global_zero or not trainer.ckpt_path or not (run / METRICS).is_file():
            return
        if not any(name.startswith("test/") for name in trainer.callback_metrics):
            return
        checkpoint = Path(trainer.ckpt_path)
        place = checkpoint.parent.parent / CARD
        if not place.is_file():
            return
        told = place.read_text(encoding="utf-8")
        blocks = dict(tested(trainer, run, checkpoint.name))
        if (changed := with_figures(told, blocks)) is None:
            logger.warning("%s has no lines %s and %s; no figures are added", place, BEGIN, END)
            return
        with written_whole(place) as path:
            path.write_text(changed, encoding="utf-8")


def card(trainer: pl.Trainer, method: pl.LightningModule, folder: Path) -> str:
    """The card of a training, as Markdown, with no figures yet."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    settings = _settings(folder)
    paper = inspect.cleandoc(type(method).__doc__ or "").partition("\nArgs:")[0].strip()
    paper = re.sub(":[a-z]+:`~?([^`]+)`", r"`\1`", paper)  # references of the documentation
    weights = sum(weight.numel() for weight in method.parameters())
    named = {part: settings.get(part) for part in ("model", "data")}
    plain = yaml.safe_dump(named, sort_keys=False, allow_unicode=True).strip()
    today = datetime.datetime.now(datetime.UTC).date()
    return "\n".join(
        [
            f"# {type(method).__name__}, trained on {type(data).__name__}",
            "",
            f"Written by gaitbench {gaitbench.__version__} on {today} at the end of the training.",
            "",
            "## Method",
            "",
            paper,
            "",
            "Figures called published are the authors'; those of these weights stand below, and "
            "what this training changed is in the settings.",
            "",
            *_table(
                {
                    "parameters": f"{weights:,}",
                    "joint layout": getattr(method, "skeleton", None),
                    "initial weights": getattr(method, "initial_weights", None) or "random",
                }
            ),
            "",
            "## Training data",
            "",
            *_table(data_facts(data)),
            "",
            "## Training",
            "",
            *_table(training_facts(trainer, settings)),
            "",
            "Settings of method and data:",
            "",
            "```yaml",
            plain,
            "```",
            "",
            "## Figures",
            "",
            BEGIN,
            UNTESTED,
            END,
            "",
            USE,
        ]
    )


def data_facts(data: Any) -> dict[str, object]:
    """What a training saw, and of whom."""

    def part(name: str) -> str:
        rows = data.rows[name]
        people = data.sequences["subject"].iloc[rows].nunique() if len(rows) else 0
        return f"{len(rows):,} samples of {people:,} people"

    return {
        "dataset": f"{type(data).__name__} ({data.dataset})",
        "source": data.path,
        "fingerprint": data.fingerprint,
        "split": data.split_name,
        "trained on": part("train"),
        "validated on": {
            "none": "nobody; the last epoch counts",
            "held_out": f"{part('validate')}, held out of training",
            "test": f"{part('validate')}: those who are tested, so that a checkpoint chosen by "
            "validation was chosen on test data",
        }.get(data.validation, data.validation),
        "set aside for tests": part("test"),
        "as the network sees it": data.what_becomes or data.units,
    }


def training_facts(trainer: pl.Trainer, settings: Mapping[str, Any]) -> dict[str, object]:
    """How long, on what and with which programs."""
    versions = {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "pytorch-lightning": version("pytorch-lightning"),
        "numpy": np.__version__,
    }
    device = trainer.strategy.root_device
    machine = platform.processor() or platform.machine()
    if device.type == "cuda":
        machine = torch.cuda.get_device_name(device)
    files = {Path(path).name for path in _checkpoints(trainer) if path}
    return {
        "epochs": trainer.current_epoch,
        "steps": f"{trainer.global_step:,}",
        "seed": settings.get("seed_everything"),
        "precision": trainer.precision,
        "hardware": f"{trainer.world_size} x {device.type} ({machine})",
        "system": platform.platform(),
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "checkpoints": ", ".join(sorted(files)) or None,
    }


def tested(trainer: pl.Trainer, run: Path, checkpoint: str) -> Iterator[tuple[str, str]]:
    """Head and text of each protocol that a test has judged by."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    metrics = json.loads((run / METRICS).read_text(encoding="utf-8"))
    settings = _settings(run)
    judge = next((c for c in trainer.callbacks if isinstance(c, ProtocolEvaluation)), None)  # type: ignore[attr-defined]
    how = [f"{data.eval_windows} window(s) of {data.frames} frames a sequence"]
    if ((settings.get("model") or {}).get("init_args") or {}).get("tta"):
        how.append("test-time augmentation")
    if judge and judge.distance:
        how.append(f"distance {judge.distance}")
    if judge and judge.rerank:
        how.append("k-reciprocal re-ranking")
    for name, sets in metrics.items():
        head = f"{name}: {checkpoint} on {type(data).__name__} {data.fingerprint[:16]}"
        head += "".join(f", {what}" for what in how[1:])
        protocol = data.protocols.get(name)
        lines = [getattr(protocol, "description", ""), "", f"Seen: {'; '.join(how)}.", ""]
        lines += ["| set | figure | % | 95 % interval | probes |", "|---|---|---:|---|---:|"]
        for probes, figures in sets.items():
            for figure, called in FIGURES.items():
                if isinstance(value := figures.get(figure), float):
                    between = figures.get(f"{figure}_ci95")
                    shown = f"{_percent(between[0])} to {_percent(between[1])}" if between else ""
                    count = counted(figures, figure) or ""
                    lines.append(f"| {probes} | {called} | {_percent(value)} | {shown} | {count} |")
        yield head, "\n".join(lines)


def with_figures(text: str, blocks: Mapping[str, str]) -> str | None:
    """A card with these blocks of figures in place of those of the same head; None if it is none.

    Args:
        text: the card.
        blocks: head to what stands below.
    """
    before, begin, rest = text.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end:
        return None
    pattern = re.compile(r"^### ([^\n]+)\n\n(.*?)\s*(?=^### |\Z)", re.MULTILINE | re.DOTALL)
    known = {**dict(pattern.findall(inside)), **blocks}
    told = "\n\n".join(f"### {head}\n\n{body}" for head, body in known.items())
    return f"{before}{BEGIN}\n{told}\n{END}{after}"


def _settings(folder: Path) -> Mapping[str, Any]:
    """Settings of the run, as its folder tells them; none if it does not."""
    path = folder / CONFIG
    read: Any = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return read if isinstance(read, dict) else {}


def _checkpoints(trainer: pl.Trainer) -> Iterator[str]:
    for saver in trainer.checkpoint_callbacks:
        yield from (getattr(saver, name, "") for name in ("best_model_path", "last_model_path"))


def _table(facts: Mapping[str, object]) -> list[str]:
    """Two columns; facts that are not known are left out."""
    known = {what: str(fact).replace("|", "/") for what, fact in facts.items() if fact is not None}
    return ["| what | |", "|---|---|", *(f"| {what} | {fact} |" for what, fact in known.items())]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
