"""What runs have left on the disk, read back for tables and reports.

A run's folder holds ``config.yaml``, and after ``validate``, ``test`` or ``predict`` also
``metrics.json`` and ``tables``; ``predict`` adds ``predictions`` with embeddings. Such a folder of
predictions is a run as well, and knows what the folder above it knows.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gaitbench.errors import InputError
from gaitbench.files import CONFIG, EMBEDDINGS, JUDGED, METRICS, SEQUENCES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from gaitbench.protocols.probes import Probes

Settings = Mapping[str, Any]
Metrics = dict[str, dict[str, dict[str, Any]]]
"""Protocol -> set of probes -> figures, as in ``metrics.json``."""

# settings that say where things lie and what is told of them, and not what is trained
PLACES = (
    ("seed_everything",),
    ("ckpt_path",),
    ("trainer", "logger"),
    ("trainer", "default_root_dir"),
    ("trainer", "enable_progress_bar"),
    ("data", "init_args", "cache"),
    ("data", "init_args", "num_workers"),
    ("evaluation",),
    ("predictions",),
    ("draw",),
)


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        name: that tells it from the others.
        folder: its own.
        config: settings of the evaluation, as ``config.yaml`` has them; empty if unknown.
        training: settings of the run that trained the checkpoint; empty if unknown.
        dataset: class of the dataset; of encodings the one that they were made of. None if unknown.
        metrics: figures by protocol and set of probes; empty where nothing was judged.
        predictions: folder of its embeddings; None if there are none.
        versions: of the programs that made it, as far as they are written down.
        fingerprint: of the data's store; None if that is not found.
        store: its folder; None likewise.
        distance: by which embeddings were compared in place of the protocol's; None if by that.
        rerank: whether the gallery was ordered again.
        seed: of the training; None if unknown.
        stage: command that judged it, ``test``; None if it is not written down.
        judged: folder of its figures; None where nothing was judged.
    """

    name: str
    folder: Path
    config: Settings
    training: Settings
    dataset: str | None
    metrics: Metrics
    predictions: Path | None
    versions: Mapping[str, str]
    fingerprint: str | None
    store: Path | None
    distance: str | None
    rerank: bool
    seed: int | None = None
    stage: str | None = None
    judged: Path | None = None

    @property
    def method(self) -> str | None:
        """Class of the method; None if unknown."""
        return class_of(self.config, "model")

    @property
    def data(self) -> Settings:
        """Settings of the dataset."""
        settings: Settings = (self.config.get("data") or {}).get("init_args") or {}
        return settings

    @cached_property
    def recipe(self) -> str | None:
        """The same for runs that differ in the seed alone; None if the training is not known.

        How figures were made of embeddings is not part of it; the protocol tells that.
        """
        if self.seed is None or not self.training:
            return None
        judged = {name: self.config.get(name) for name in ("model", "data")}
        return json.dumps([self._plain(judged), self._plain(self.training)], sort_keys=True)

    def read_embeddings(self) -> "tuple[NDArray[np.float32], pd.DataFrame]":
        """Embeddings (N, D) and the N sequences that they are of.

        Raises:
            InputError: if there are none, or a file is damaged.
        """
        from gaitbench.callbacks import read_predictions

        return read_predictions(self.predictions or self.folder)

    def read_probes(self, protocol: str) -> "Probes | None":
        """What its probes gave by a protocol; None if that is not written down.

        Raises:
            InputError: if the file is damaged.
        """
        from gaitbench.protocols.probes import FOLDER, Probes

        path = (self.judged or self.folder) / FOLDER / f"{protocol}.parquet"
        return Probes.read(path) if self.judged and path.is_file() else None

    def _plain(self, settings: Settings) -> Any:
        """The settings without places; the data's path is told by its fingerprint if known."""
        plain = json.loads(json.dumps(settings, default=str))
        for *above, last in PLACES:
            part = plain
            for name in above:
                part = part.get(name) or {}
            part.pop(last, None)
        for callback in plain.get("trainer", {}).get("callbacks") or ():
            (callback.get("init_args") or {}).pop("dirpath", None)
        data = (plain.get("data") or {}).get("init_args") or {}
        if self.fingerprint and data.get("path") == self.data.get("path"):
            data["path"] = self.fingerprint
        return plain


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs of those folders, under names that tell them apart.

    Raises:
        InputError: if a folder is named twice, or is none of a run that judged or predicted.
    """
    places = [folder.resolve() for folder in folders]
    for i, place in enumerate(places):
        if place in places[:i]:
            raise InputError(f"{folders[i]} is named twice; name each run once")
    return [read_run(*pair) for pair in zip(folders, _names(places), strict=True)]


def read_run(folder: Path, name: str | None = None) -> Run:
    """The run that has left a folder.

    Args:
        folder: of the run, or of its predictions.
        name: by which it is called; the folder's if not given.

    Raises:
        InputError: if it holds neither figures nor embeddings, or a file is damaged.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder; name that of a run, such as lightning_logs/version_1"
        )
    inside = [place for place in (folder / "predictions", folder) if (place / EMBEDDINGS).is_file()]
    predictions = inside[0] if inside and (inside[0] / SEQUENCES).is_file() else None
    # a folder of predictions lies in that of its run
    above = [folder, folder.resolve().parent] if predictions == folder else [folder]
    config = next((place / CONFIG for place in above if (place / CONFIG).is_file()), None)
    found = next((place / METRICS for place in above if (place / METRICS).is_file()), None)
    if found is None and predictions is None:
        training = (folder / "checkpoints").is_dir()
        raise InputError(
            f"{folder} holds neither {METRICS} nor {EMBEDDINGS}; "
            + (
                "it is a training's, so name the folder of a `test` or `predict` of its checkpoint"
                if training
                else "name the folder of a run of `validate`, `test`, `predict` or `evaluate`"
            )
        )
    settings, versions = _read_config(config)
    judged = _read_judged(found)
    if judged:
        versions["gaitbench"] = str(judged.get("version"))
    else:
        judged = settings.get("evaluation") or {}
    store, fingerprint = _store_of(settings, folder)
    trained = _training_of(settings, folder)
    return Run(
        name=name or folder.resolve().name,
        folder=folder,
        config=settings,
        training=trained,
        dataset=_dataset_of(settings, folder),
        metrics=_read_metrics(found) if found else {},
        predictions=predictions,
        versions=versions,
        fingerprint=fingerprint,
        store=store,
        distance=judged.get("distance"),
        rerank=bool(judged.get("rerank")),
        seed=_seed_of(settings, trained, folder),
        stage=judged.get("stage"),
        judged=found and found.parent,
    )


def read_settings(folder: Path) -> tuple[Settings, Settings]:
    """Settings of a run that has just begun, and those of the training of its checkpoint.

    Each is empty where it is not known.
    """
    path = folder / CONFIG
    config, _ = _read_config(path if path.is_file() else None)
    try:
        return config, _training_of(config, folder)
    except InputError:  # another run's file, which this one can do without
        return config, {}


def class_of(config: Settings, part: str) -> str | None:
    """Name of the class that a section of ``config.yaml`` chooses; None if it chooses none."""
    section = config.get(part) or {}
    path = section.get("class_path") if isinstance(section, dict) else None
    return str(path).rpartition(".")[2] if path else None


def _names(places: Sequence[Path]) -> list[str]:
    """As many last folders of each as tell it from the others."""
    # runs/a/predictions is a's
    parts = [p.parent.parts if p.name == "predictions" else p.parts for p in places]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len({*names}) == len(names):
            return names
    return [str(place) for place in places]  # a run and its own predictions


def _read_config(path: Path | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings, and the versions that the first line tells."""
    if path is None:
        return {}, {}
    try:
        text = path.read_text(encoding="utf-8")
        settings = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path} is no readable YAML; mend it, or take it away to go without"
        ) from error
    if not isinstance(settings, dict):
        raise InputError(f"{path} holds no settings; mend it, or take it away to go without")
    versions = dict(re.findall(r"^# ([\w-]+)==(\S+)$", text, re.MULTILINE))
    return settings, versions


def _read_metrics(path: Path) -> Metrics:
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        whole = all(
            isinstance(figures, dict) for sets in metrics.values() for figures in sets.values()
        )
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} holds no figures; judge the run again") from error
    if not whole:
        raise InputError(f"{path} holds no figures by protocol and probe set; judge the run again")
    result: Metrics = metrics
    return result


def _read_judged(metrics: Path | None) -> dict[str, Any]:
    """How the figures came about, if that was written down of these very ones."""
    try:
        assert metrics is not None
        judged = json.loads((metrics.parent / JUDGED).read_text(encoding="utf-8"))
        same = judged["metrics"] == hashlib.sha256(metrics.read_bytes()).hexdigest()
    except (AssertionError, OSError, ValueError, KeyError, TypeError):
        return {}
    result: dict[str, Any] = judged
    return result if same else {}


def _found(named: object, folder: Path) -> Path | None:
    """A path that a run was given, which may have been seen from any folder above the run's."""
    if not isinstance(named, str):
        return None
    places = [Path(), *folder.resolve().parents]
    return next((place / named for place in places if (place / named).exists()), None)


def _training_of(config: Settings, folder: Path) -> Settings:
    """Settings of the run that wrote the checkpoint, if its folder still tells them."""
    checkpoint = _found(config.get("ckpt_path"), folder)
    path = checkpoint and checkpoint.parent.parent / CONFIG
    if not path or not path.is_file():
        return {}
    settings, _ = _read_config(path)
    # a test in the same folder has written its own over them
    return {} if {"verbose", "return_predictions"} & {*settings} else settings


def _seed_of(config: Settings, training: Settings, folder: Path) -> int | None:
    """Seed of the training, of which the checkpoint tells where its settings are gone."""
    seed = training.get("seed_everything")
    checkpoint = None if training else _found(config.get("ckpt_path"), folder)
    if checkpoint is not None:
        from gaitbench.checkpoints import read_checkpoint

        with suppress(InputError):
            seed = read_checkpoint(checkpoint).get("gaitbench", {}).get("seed")
    return seed if type(seed) is int else None


def _dataset_of(config: Settings, folder: Path) -> str | None:
    """Class of the dataset, of encodings that of the run that made them."""
    name = class_of(config, "data")
    if name != "Encodings":
        return name
    paths = config["data"].get("init_args", {}).get("path")
    path = _found(paths[0] if isinstance(paths, list) else paths, folder)
    for place in (path, path.resolve().parent) if path else ():
        if (place / CONFIG).is_file():
            return class_of(_read_config(place / CONFIG)[0], "data")
    return name


def _store_of(config: Settings, folder: Path) -> tuple[Path | None, str | None]:
    """The one store in the run's cache which was made of the run's data, and its fingerprint."""
    data = (config.get("data") or {}).get("init_args") or {}
    cache, path = _found(data.get("cache"), folder), data.get("path")
    if cache is None or not isinstance(path, str):
        return None, None
    source = _found(path, folder)
    found = []
    for file in sorted(cache.glob("*/store.json")):
        try:
            store = json.loads(file.read_text(encoding="utf-8"))
            if store.get("source") in (path, str(source and source.resolve())):
                found.append((file.parent, str(store["fingerprint"])))
        except (OSError, ValueError, AttributeError, KeyError):
            continue
    return found[0] if len(found) == 1 else (None, None)
