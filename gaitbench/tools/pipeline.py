"""``gaitbench pipeline``."""

import contextlib
import hashlib
import io
import json
import logging
import re
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gaitbench.__main__ import RUNS
from gaitbench.errors import InputError
from gaitbench.files import METRICS, written_whole
from gaitbench.tools.datasets import command_parser

SUFFIX = ".pipeline"
RECORD, PREVIOUS = "stage.json", ".previous"
PREDICTIONS, CHECKPOINTS = "predictions", "checkpoints"
LAST, BEST = "last", "best"
ENTRIES = ("run", "config", "set", "from")
NAME = re.compile("[A-Za-z0-9_-]+")
SECTIONS = ("model", "data", "trainer", "evaluation", "predictions", "draw", "optimizer")
"""What words of runs begin with, and stages are therefore not called."""

WITHOUT_EFFECT = {
    "": ("ckpt_path", "config"),
    "trainer": ("default_root_dir", "logger", "enable_progress_bar", "enable_model_summary"),
    "data.init_args": ("cache", "num_workers"),
}
"""Section -> settings by which the outcome of a run does not differ. What a run takes up from
another stands in its fingerprint by its content, not by its place."""


class Stage(NamedTuple):
    """One run.

    Args:
        name: of the stage and of its folder.
        command: one of :data:`gaitbench.__main__.RUNS`.
        configs: files that are laid over each other.
        words: of the command line.
        takes: setting -> the earlier stages whose outcomes it is, and which: ``last`` or ``best``.
    """

    name: str
    command: str
    configs: tuple[Path, ...]
    words: tuple[str, ...]
    takes: Mapping[str, Sequence[tuple[str, str]]]


def main(args: Sequence[str]) -> None:
    """Run the stages of a method one after the other; what is finished and unchanged is kept.

    Raises:
        InputError: if a stage failed, naming it.
    """
    parser = command_parser(
        "pipeline", "Run stages one after the other; what is finished and unchanged is kept."
    )
    parser.allow_abbrev = False
    parser.add_argument("file", type=Path, help="YAML of the stages")
    parser.add_argument(
        "--out", type=Path, help="folder of the stages' folders (default data/pipelines/NAME)"
    )
    parser.add_argument(
        "--again", nargs="+", default=[], metavar="STAGE", help="run also if unchanged"
    )
    parser.epilog = (
        "What else is given goes to each run (--trainer.accelerator=cpu), or, after the names of "
        "stages, to theirs (--encode,extract.data.body=tracked)."
    )
    given, words = parser.parse_known_args(args)
    stages = with_words(read_stages(given.file), words)
    out = given.out or Path("data/pipelines") / given.file.stem.removesuffix(SUFFIX)
    if unknown := set(given.again) - {stage.name for stage in stages}:
        raise InputError(
            f"--again names {min(unknown)}, {given.file} has "
            f"{', '.join(stage.name for stage in stages)}; name one of these"
        )
    for stage in stages:  # before hours of the stages before it
        with _failing(stage, "cannot run"):
            check(stage)
    found: dict[str, Path] = {}
    for number, stage in enumerate(stages, 1):
        place = f"[{number}/{len(stages)}] {stage.name}"
        with _failing(stage, "failed"):
            found[stage.name] = run_stage(stage, found, out, place, stage.name in given.again)
    print(f"\nall {len(stages)} stages are in {out}")


def read_stages(path: Path) -> list[Stage]:
    """The stages in a file, in its order.

    Raises:
        InputError: naming the stage and entry that is not as it should be.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name a pipeline") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is no YAML ({reason}); mend it") from error
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not stages or set(content) != {"stages"}:
        raise InputError(f"{path} holds no pipeline; expected `stages:` alone and a stage's name")
    found: dict[str, Stage] = {}
    for name, entries in stages.items():
        try:
            found[name] = _stage(name, entries, found, path.parent)
        except ValueError as error:
            raise InputError(f"{path}, stage {name}: {error}; mend it") from error
    return list(found.values())


def _stage(name: Any, entries: Any, before: Mapping[str, Stage], folder: Path) -> Stage:
    """One stage; a ValueError tells what is wrong."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in SECTIONS:
        raise ValueError(
            f"a name has letters, digits, - and _, and is none of {', '.join(SECTIONS)}"
        )
    if not isinstance(entries, dict) or not entries.keys() <= set(ENTRIES):
        raise ValueError(f"expected the entries {', '.join(ENTRIES)} and no other")
    command = entries.get("run")
    if command not in RUNS:
        raise ValueError(f"run is {command!r}, expected one of {', '.join(RUNS)}")
    named = entries.get("config")
    named = [named] if isinstance(named, str) else named
    if not isinstance(named, list) or not named or not all(isinstance(c, str) for c in named):
        raise ValueError("config names no file, or several that are laid over each other")
    configs = tuple(folder / config for config in named)
    for config in configs:
        if not config.is_file():
            raise ValueError(f"config {config} does not exist")
    settings, takes = entries.get("set") or {}, entries.get("from") or {}
    for entry in (settings, takes):
        if not isinstance(entry, dict) or not all(isinstance(key, str) for key in entry):
            raise ValueError("set and from have lines `setting: ...`")
    words = tuple(
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in settings.items()
    )
    sources: dict[str, list[tuple[str, str]]] = {}
    for key, value in takes.items():
        several = value if isinstance(value, list) else [value]
        if not several or (key == "ckpt_path" and len(several) > 1):
            raise ValueError(f"from takes {key} of {several}, expected a stage before it")
        sources[key] = [_source(key, each, before) for each in several]
    return Stage(name, command, configs, words, sources)


def _source(key: str, value: Any, before: Mapping[str, Stage]) -> tuple[str, str]:
    """What a setting takes of which stage; a ValueError tells what is wrong."""
    source, _, which = str(value).partition("/")
    if source not in before:
        raise ValueError(f"from takes {key} of {value!r}, which is no stage before it")
    if which not in ("", BEST) or (which and before[source].command != "fit"):
        raise ValueError(f"from takes {key} of {value!r}, expected {source}, or of a fit /best")
    if key == "ckpt_path" and before[source].command != "fit":
        raise ValueError(f"from takes ckpt_path of {source}, which trains nothing")
    return source, which or LAST


def with_words(stages: Sequence[Stage], words: Sequence[str]) -> list[Stage]:
    """Stages with the words of the command line that are meant for them behind their own.

    Raises:
        InputError: if a word belongs to no setting.
    """
    names = [stage.name for stage in stages]
    own: dict[str, list[str]] = {name: [] for name in names}
    to: list[str] = []
    for word in words:
        if word.startswith("--"):
            head, _, rest = word[2:].partition(".")
            to = head.split(",")
            if set(to) <= set(names):
                word = f"--{rest}"
            else:
                to = names
        elif not to:
            raise InputError(f"{word!r} belongs to no setting; write --setting={word}")
        for name in to:
            own[name].append(word)
    return [stage._replace(words=(*stage.words, *own[stage.name])) for stage in stages]


def command_line(stage: Stage, out: Path, takes: Mapping[str, Sequence[Path]]) -> list[str]:
    """Words of the run whose files go to its folder below ``out``."""
    folder = out / stage.name
    logger = {
        "class_path": "TensorBoardLogger",
        "init_args": {"save_dir": str(folder), "name": "", "version": ""},
    }
    fixed = [
        f"--trainer.default_root_dir={folder}",
        f"--trainer.logger={json.dumps(logger)}",
        "--trainer.devices=1",  # with several, each would start this whole command again
    ]
    if stage.command == "predict":
        fixed.append(f"--predictions.dir={folder / PREDICTIONS}")
    configs = [word for config in stage.configs for word in ("--config", str(config))]
    taken = [
        f"--{setting}={json.dumps([*map(str, paths)]) if len(paths) > 1 else paths[0]}"
        for setting, paths in takes.items()
    ]
    return [stage.command, *configs, *stage.words, *fixed, *taken]


def check(stage: Stage) -> None:
    """Parse a stage's settings.

    Raises:
        InputError: naming one that its method or dataset does not have.
    """
    from gaitbench import cli

    with _quietly():
        takes = {
            setting: [Path("x")] * len(sources)
            for setting, sources in stage.takes.items()
            if setting != "ckpt_path"
        }
        cli.command_line(cli.Parsed, command_line(stage, Path(), takes))


def run_stage(stage: Stage, found: Mapping[str, Path], out: Path, place: str, again: bool) -> Path:
    """Run a stage, go on with it where it was stopped, or take over what it gave before.

    Args:
        stage: which.
        found: folders of the stages before it.
        out: folder of the stages' folders.
        place: begin of the lines that tell how far it is.
        again: run it also if it is finished and unchanged.

    Returns:
        The stage's folder.

    Raises:
        InputError: if it cannot run, or was stopped and left no checkpoint that is whole.
    """
    from gaitbench import cli, recovery

    folder = out / stage.name
    taken = {
        setting: [outcome(found[source], which) for source, which in sources]
        for setting, sources in stage.takes.items()
    }
    words = command_line(stage, out, taken)
    with _quietly():
        key = key_of(cli.command_line(cli.Built, words), taken)
    record = _read_record(folder)
    same = record.get("key") == key and not again
    if same and record.get("mark") == _mark_of_outcome(folder):
        print(f"{place}: unchanged, taken over", flush=True)
        return folder
    going_on = None
    if same and "mark" not in record and stage.command == "fit":
        going_on = recovery.newest_checkpoint(folder)
    if going_on is not None:
        words.append(f"--ckpt_path={going_on}")
        print(f"{place}: {stage.command}, going on from {going_on} ...", flush=True)
    else:
        _cleared(folder, place)
        print(f"{place}: {stage.command} ...", flush=True)
    begin = time.monotonic()
    record = {"key": key, "run": stage.command, "words": words[1:]}
    _write_record(folder, record)
    try:
        cli.main(args=words)
    except InputError:
        raise
    except Exception as error:
        traceback.print_exc()
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"{type(error).__name__}: {reason}") from error
    seconds = time.monotonic() - begin
    _write_record(folder, record | {"seconds": round(seconds, 1), "mark": _mark_of_outcome(folder)})
    print(f"{place}: {seconds:.0f} s", flush=True)
    return folder


def key_of(run: Any, taken: Mapping[str, Sequence[Path]]) -> str:
    """Fingerprint of all settings of a run, of the files among them, and of its data.

    Args:
        run: built, not started.
        taken: setting -> outcomes of other stages.
    """
    from gaitbench import __version__

    command = run.config.subcommand
    settings = json.loads(run.parser.dump(run.config, skip_none=False, format="json"))[command]
    for section, names in WITHOUT_EFFECT.items():
        part = settings
        for name in section.split(".") if section else ():
            part = part.get(name) or {}
        for name in names:
            part.pop(name, None)
    places = {str(path) for paths in taken.values() for path in paths}
    marks: dict[str, Any] = {
        setting: [mark_of(path) for path in paths] for setting, paths in taken.items()
    }

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: told(part) for name, part in value.items()}
        if isinstance(value, list):
            return [told(part) for part in value]
        if isinstance(value, str) and value not in places and _is_file(value):
            marks[value] = mark_of(Path(value))
        return None if value in places else value

    content = [__version__, command, told(settings), marks]
    if "data.path" not in taken:
        content.append(run.datamodule.store_key())
    text = json.dumps(content, sort_keys=True, default=str).encode()
    return hashlib.sha256(text, usedforsecurity=False).hexdigest()


def outcome(folder: Path, which: str = LAST) -> Path:
    """What a stage is there for: a checkpoint, a folder of predictions, or its own folder.

    The checkpoint is the last one, the newest where none is called so, or the best one, which is
    the newest that is not called last.

    Raises:
        InputError: if it is not there.
    """
    checkpoints = folder / CHECKPOINTS
    if (folder / PREDICTIONS).is_dir():
        return folder / PREDICTIONS
    if not checkpoints.is_dir():
        return folder
    paths = sorted(checkpoints.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    fitting = [path for path in paths if path.stem.startswith(LAST) == (which == LAST)]
    if which == LAST:
        fitting = paths + fitting
    if not fitting:
        raise InputError(
            f"{checkpoints} has no {which} checkpoint; give trainer.callbacks a ModelCheckpoint "
            f"{'of the filename last' if which == LAST else 'with a monitor'}"
        )
    return fitting[-1]


def mark_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of the files right in a folder."""
    if path.is_dir():
        found = [(p.name, mark_of(p)) for p in sorted(path.iterdir()) if p.is_file()]
        return hashlib.sha256(repr(found).encode(), usedforsecurity=False).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mark_of_outcome(folder: Path) -> str:
    """Of a stage that is judged, its figures; empty if it has left nothing."""
    place = outcome(folder)
    if place == folder:
        place = folder / METRICS
    return mark_of(place) if place.exists() else ""


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    with written_whole(folder / RECORD) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _cleared(folder: Path, place: str) -> None:
    """Move what an earlier run of the stage has left out of the way.

    Raises:
        InputError: if the folder is not a stage's.
    """
    from gaitbench.recovery import checkpoints_of

    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / RECORD).is_file():
        raise InputError(f"{folder} is not of a pipeline; name another folder with --out")
    if "mark" in _read_record(folder) or checkpoints_of(folder):
        previous = folder.with_name(folder.name + PREVIOUS)
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
        print(f"{place}: what was there is now in {previous}", flush=True)
    else:  # a run that gave nothing
        shutil.rmtree(folder)


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _failing(stage: Stage, how: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"stage {stage.name} ({stage.command}) {how}: {error}") from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Of what is printed and logged, let warnings alone through."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
