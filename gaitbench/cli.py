"""The runs: fit, validate, test and predict of any method on any dataset."""

import argparse
import json
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")

import pytorch_lightning as pl
import yaml
from pytorch_lightning.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins import CheckpointIO
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import SIGTERMException

from gaitbench import callbacks, datamodules, drawings, memory, methods, recovery
from gaitbench.__main__ import guarded
from gaitbench.backbones.graph import share_statistics
from gaitbench.checkpoints import read_checkpoint
from gaitbench.compiling import compile_network
from gaitbench.errors import InputError
from gaitbench.exported import OnnxNetwork
from gaitbench.files import CONFIG, written_whole
from gaitbench.hyperparameters import HyperParameters
from gaitbench.model_card import ModelCard
from gaitbench.processes import lost_process

# told to developers of a LightningModule, of no use to somebody who runs one
QUIET = (
    "The '.*_dataloader' does not have many workers",
    "The number of training batches",
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "No `val_dataloader` returned",
    "PossibleUserWarning",
    "You defined a `validation_step` but have no `val_dataloader`",
    "Checkpoint directory .* exists and is not empty",
    "It is recommended to use .*sync_dist=True",
    "The dirpath has changed from",
    "You are using a custom batch sampler",
    "torch.distributed.nn.functional.all_gather is deprecated",
    "Experiment logs directory .* exists",
    "LightningCLI.s args parameter",
    "Total length of `list` across ranks is zero",
    "You.re using the WeightAveraging callback, but loading a checkpoint outside",
)

# filled in by the other section: what a dataset must tell a method
LINKED = ("skeleton", "num_subjects")

# packages that complain of settings in code of their own, and errors that are no complaints
OTHERS = {"pytorch_lightning", "lightning_fabric", "jsonargparse"}
MISTAKES = (ArithmeticError, AssertionError, AttributeError, LookupError)

# precisions that leave no float32 to a loss
WITHOUT_FLOAT32 = ("16-true", "bf16-true", "transformer-engine", "transformer-engine-float16")

# what Lightning takes in place of a checkpoint's path
CHECKPOINT_WORDS = (None, "best", "last", "hpc", "registry")


class SavedConfig(SaveConfigCallback):
    """Writes the settings of a run to its folder, whole or not at all."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write them once, in one process."""
        directory = callbacks.run_directory(trainer)
        if trainer.is_global_zero and not self.already_saved:
            settings = self.parser.dump(self.config, skip_none=False)
            with written_whole(directory / CONFIG) as path:
                path.write_text(settings)
        self.already_saved = True


class GaitCLI(LightningCLI):
    """Lightning's command line with a dataset, a method, and what this project adds."""

    def __init__(self, *classes: Any, **settings: Any) -> None:
        self.named = settings["args"][:1]
        super().__init__(*classes, **settings)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # not static
        """The one that is named, since each costs a parser of its own; all if none is."""
        known: dict[str, set[str]] = LightningCLI.subcommands()
        return {name: known[name] for name in self.named if name in known} or known

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add evaluation, predictions and drawings; link what the dataset tells the method."""
        parser.add_argument(
            "--compile",
            type=bool,
            default=False,
            help="compile the network by torch.compile; goes on without where there is no compiler",
        )
        parser.add_lightning_class_args(callbacks.ProtocolEvaluation, "evaluation")
        parser.add_lightning_class_args(callbacks.PredictionWriter, "predictions")
        parser.add_lightning_class_args(drawings.Drawings, "draw")
        parser.add_class_arguments(recovery.Recovery, "recovery")
        parser.add_argument("--resume", help="folder of a run that `fit` begins or goes on with")
        for name in LINKED:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")
        if self.datamodule_class is not datamodules.GaitDataModule:
            parser.set_defaults({"data": {"class_path": self._datamodule_class.__name__}})

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            parser.set_defaults(return_predictions=False)  # they are written to files
        elif subcommand != "fit":
            parser.set_defaults(verbose=False)  # the protocols' tables say it better
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the command line, with the settings that the checkpoint stores among it.

        Since 2.5.5 Lightning lays a checkpoint's settings over what the user says, in silence. Here
        they stand where one can see their place: a training is the user's, so they come before all
        that the user says. What is judged is the network that the checkpoint holds, so there they
        come right after the last ``--config``, and a line names what they overrule.
        """
        assert isinstance(args, list)
        self.run, args = resumed(args)
        configs = read_configs(args)
        self.origin: dict[str, Any] = {}
        path = checkpoint_path(args, configs)
        if path:
            content = read_checkpoint(path)
            self.origin = content.get("gaitbench", {})
            settings = stored_settings(content, path, named_methods(args, configs))
            place = 1
            if args[0] == "fit":
                refuse_resuming_nothing(content, path)
            else:
                place = after_configs(args)
                tell_overruled(settings, configs, path)
            if settings:
                words = ["--config", json.dumps({"model": settings})]
                args = [*args[:place], *words, *args[place:]]
        super().parse_arguments(parser, args)

    def before_instantiate_classes(self) -> None:
        """Refuse to judge a network that was never trained; give data the form that it knows."""
        command = self.config.subcommand
        model = self.config[command].get("model")
        if getattr(model, "class_path", "").endswith(".ExportedNetwork"):  # comes trained
            if path := self.config[command].ckpt_path:
                raise InputError(
                    f"an exported network comes trained; leave --ckpt_path {path} out, or --model"
                )
            self.origin = OnnxNetwork(Path(model.init_args.path)).info.origin
        elif command != "fit" and not self.config[command].ckpt_path:
            raise InputError(
                f"`{command}` needs a trained network; name one with --ckpt_path, such as "
                "lightning_logs/version_0/checkpoints/last.ckpt"
            )
        trainer = self.config[command].trainer
        for name in ("accumulate_grad_batches", "check_val_every_n_epoch"):
            if trainer[name] is not None and trainer[name] < 1:
                raise InputError(f"trainer.{name} is {trainer[name]}; give 1 or more")
        if trainer.precision in WITHOUT_FLOAT32:
            raise InputError(
                f"trainer.precision is {trainer.precision}, in which losses and distances lose "
                "their digits; give bf16-mixed, 16-mixed, 32-true or 64-true"
            )
        if self.config[command].resume:
            raise InputError("resume stands in a --config file; give --resume as a word instead")
        settings = self.config[command].data.init_args
        if self.origin.get("skeleton") and settings.skeleton is None:
            settings.skeleton = self.origin["skeleton"]
        if self.origin.get("normalized") and settings.normalize is None:
            settings.normalize = "pelvis"

    def instantiate_classes(self) -> None:
        """Build everything; what a class refuses comes out of the parser's wrapping unchanged."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, InputError):
                cause = cause.__cause__ or cause.__context__
            raise (cause or error) from None
        if self.config[self.config.subcommand].compile:
            compile_network(self.model.backbone, self.trainer.strategy.root_device)

    def instantiate_trainer(self, **settings: Any) -> pl.Trainer:
        """The trainer, with checkpoints that are whole and a folder that may be given.

        ``sync_batchnorm`` is a matter of our own norms, which it does not know.
        """
        own = self._get(self.config_init, "trainer")
        if own.sync_batchnorm:
            share_statistics(self.model)
        settings["sync_batchnorm"] = False
        plugins = own.plugins if isinstance(own.plugins, list) else [own.plugins]
        plugins = [plugin for plugin in plugins if plugin is not None]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            settings["plugins"] = [*plugins, recovery.WholeCheckpoints()]
        if self.run:
            if not isinstance(own.logger, bool | TensorBoardLogger | None):
                raise InputError(
                    "a run with --resume keeps TensorBoard's log in its folder; leave "
                    "trainer.logger out"
                )
            settings["logger"] = TensorBoardLogger(self.run.parent, "", self.run.name)
        trainer: Any = super().instantiate_trainer(**settings)
        trainer.callbacks.insert(0, recovery.LossWatch())
        # last of all, so that it keeps what the run's own checkpoints have noted down
        trainer.callbacks.append(self._get(self.config_init, "recovery"))
        trainer.callbacks += [ModelCard(), HyperParameters()]
        built: pl.Trainer = trainer
        return built

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except SIGTERMException:
            # what a training is at is kept, of others nothing; a pipeline ends here, too
            raise SystemExit(0 if subcommand == "fit" else recovery.STOPPED) from None

    def after_fit(self) -> None:
        """Say where the checkpoint lies, which the next command asks for."""
        saver = self.trainer.checkpoint_callback
        path = getattr(saver, "last_model_path", "") or getattr(saver, "best_model_path", "")
        if self.trainer.is_global_zero and path:
            print(f"\ncheckpoint: {os.path.relpath(path)}")

    def _parse_ckpt_path(self) -> None:
        """Nothing: see :meth:`parse_arguments`."""


class Built(GaitCLI):
    """A run that is built and not started."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing."""


class Parsed(Built):
    """Settings of a run, of which nothing is built."""

    def before_instantiate_classes(self) -> None:
        """Nothing."""

    def instantiate_classes(self) -> None:
        """Nothing."""


class Parser(LightningArgumentParser):
    """Lightning's parser, with no guessing of cut-off names and errors of one sentence."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **settings)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message, cut to what the user can mend, as an InputError."""
        if isinstance(ex, InputError):
            raise ex
        if not self.exit_on_error:  # a trial of one of several types, whose failure is expected
            super().error(message, ex)
        program = self.prog.replace(" [options]", "").replace("__main__.py", "gaitbench")
        raise InputError(f"{one_sentence(message)}; `{program} --help` lists what is accepted")


def one_sentence(message: str) -> str:
    """What is wrong and where, out of a parser's message of many lines.

    A setting that may be a class or nothing fails once for each; the first complaint is that of the
    class that was named.
    """
    keys = re.findall(r'Parser key "([^"]+)"', message)
    where = ".".join(dict.fromkeys(keys))
    for pattern, text in (
        (r"Option '([^']+)' is not accepted", "{where}.{0} is no setting"),
        (r"Group '([^']+)' does not accept option '([^']+)'", "{where}.{0}.{1} is no setting"),
        (r"unrecognized arguments: (\S+)", "{0} is no setting"),
        (r"File does not exist: '([^']+)'", "the file {0} of --{where} does not exist"),
        (r"the following arguments are required: (.+)", "{where} lacks {0}"),
        (r"(?:No subclass names|Unexpected import object|Import of) (.+)", "{where}: no class {0}"),
        (r"Problem with given class_path '([^']+)':\s*(.+)", "{0}: {1}"),
        (r"(Expected an? .+)", "{where}: {0}"),
    ):
        found = re.search(pattern, message)
        if found:
            what = [part.strip().rstrip(".") for part in found.groups()]
            return text.format(*what, where=where).lstrip(".: ")
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return " ".join(lines[:3])


def resumed(args: list[str]) -> tuple[Path | None, list[str]]:
    """The run's folder that ``--resume`` names, and the words that it stands for.

    These are the run's newest checkpoint, if there is one yet, and where the other words name
    neither ``--config`` nor a method, the settings that the run was begun with.

    Raises:
        InputError: if no run was begun there and nothing says how to begin one, or no checkpoint
            can be read.
    """
    folders, words = taken(args, "--resume")
    if not folders:
        return None, args
    if words[0] != "fit" or given(words, "--ckpt_path"):
        raise InputError(
            "--resume is for `fit`, and finds the checkpoint itself; leave it out, or --ckpt_path"
        )
    run = Path(folders[-1]).absolute()
    if not given(words, "--config", "-c", "--model"):
        config = run / CONFIG
        if not config.is_file():
            raise InputError(
                f"--resume {run} holds no run that was begun; name another folder, or give "
                "--config and the data as well to begin one there"
            )
        words[1:1] = [f"--config={config}"]
    checkpoint = recovery.newest_checkpoint(run)
    return run, [*words, f"--ckpt_path={checkpoint}"] if checkpoint else words


def taken(args: list[str], *names: str) -> tuple[list[str], list[str]]:
    """The values that an option has in ``args``, and the words that are left without it."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument(*names, dest="values", action="append", default=[])
    found, others = finder.parse_known_args(args)
    return found.values, others


def given(args: list[str], *names: str) -> list[str]:
    """The values that an option has in ``args``, before the parser proper looks at them."""
    return taken(args, *names)[0]


def read_configs(args: list[str]) -> list[dict[str, Any]]:
    """What the ``--config`` words say, in their order: files, or YAML itself.

    Raises:
        InputError: naming file, line and column of what is no YAML, which the parser does not tell.
    """
    configs = []
    for name in given(args, "--config", "-c"):
        # a file that is missing is told by the parser
        text = Path(name).read_bytes() if _is_file(name) else name
        try:
            content = yaml.safe_load(text)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            place = f" line {mark.line + 1} column {mark.column + 1}" if mark else ""
            problem = getattr(error, "problem", None) or str(error)
            raise InputError(f"{name}{place}: {problem}; mend the YAML") from error
        if isinstance(content, dict):
            configs.append(content)
        elif text is not name:
            raise InputError(f"{name} holds no settings; expected lines such as `model: ...`")
    return configs


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # YAML itself may be too long for a file's name
        return False


def after_configs(args: list[str]) -> int:
    """Where in ``args`` the last ``--config`` and its value end; 1 if there is none."""
    place = 1
    for i, word in enumerate(args):
        if word in ("--config", "-c"):
            place = i + 2
        elif word.startswith(("--config=", "-c")):
            place = i + 1
    return place


def checkpoint_path(args: list[str], configs: list[dict[str, Any]]) -> Path | None:
    """The checkpoint's file that words or configs name; None if they name none."""
    named = [config["ckpt_path"] for config in configs if config.get("ckpt_path")]
    path = [None, *named, *given(args, "--ckpt_path")][-1]
    return None if path in CHECKPOINT_WORDS else Path(str(path))


def named_methods(args: list[str], configs: list[dict[str, Any]]) -> set[str]:
    """Classes of methods that words or configs name, as they name them."""
    models = [config.get("model") for config in configs]
    classes = [model.get("class_path") if isinstance(model, dict) else model for model in models]
    return {str(name) for name in (*classes, *given(args, "--model", "--model.class_path")) if name}


def stored_settings(
    content: dict[str, Any], path: Path, named: Collection[str] = ()
) -> dict[str, Any]:
    """Class and settings of the method in a checkpoint; nothing if it does not tell.

    Args:
        content: as :func:`gaitbench.checkpoints.read_checkpoint` gives it.
        path: of the checkpoint.
        named: classes of methods that the user has named, which may be from outside the package.

    Raises:
        InputError: if the method is unknown.
    """
    stored = content.get("hyper_parameters", {})
    if "_class_path" not in stored:
        return {}
    # a file from elsewhere must not choose what is imported
    method = str(stored["_class_path"])
    known = [name for name in methods.__all__ if name not in ("GaitMethod", "ExportedNetwork")]
    if method not in named:
        method = method.rpartition(".")[2]
        if method not in known:
            raise InputError(
                f"{path} holds the method {stored['_class_path']}, which is none of "
                f"{', '.join(known)}; name another checkpoint, or, if it is of your own, its class "
                f"as well with --model {stored['_class_path']}"
            )
    settings = {name: value for name, value in stored.items() if not name.startswith("_")}
    return {"class_path": method, "init_args": settings}


def refuse_resuming_nothing(content: dict[str, Any], path: Path) -> None:
    """A training goes on only from a checkpoint of one.

    Raises:
        InputError: if it holds weights alone, as an imported one does.
    """
    if "optimizer_states" not in content:
        raise InputError(
            f"{path} holds weights but no training that can go on; to start from its weights give "
            "--model.initial_weights in place of --ckpt_path"
        )


def tell_overruled(settings: dict[str, Any], configs: list[dict[str, Any]], path: Path) -> None:
    """Name in one line the method's settings that configs say differently from the checkpoint."""
    said: dict[str, Any] = {}
    for model in (config.get("model") for config in configs):
        if isinstance(model, str):
            model = {"class_path": model}
        if isinstance(model, dict):
            said |= model.get("init_args") or {}
            if "class_path" in model:
                said["method"] = str(model["class_path"]).rpartition(".")[2]
    method = settings.get("class_path", "").rpartition(".")[2]
    holds = {"method": method, **settings.get("init_args", {})}
    overruled = [
        f"{name} {value} (configs say {said[name]})"
        for name, value in holds.items()
        if name in said and said[name] != value
    ]
    if overruled:
        rank_zero_only(print)(f"model settings of {path} hold: {', '.join(overruled)}")


def main(
    datamodule: type[datamodules.GaitDataModule] = datamodules.GaitDataModule,
    args: Sequence[str] | None = None,
) -> None:
    """Fit, validate, test or predict with any method on a dataset, or on any.

    Args:
        datamodule: the dataset; the base class leaves it open (``--data CLASS``).
        args: words of the command line, without the program's name; those of the process if None.

    Raises:
        InputError: on a mistake of the user.
    """
    command_line(GaitCLI, sys.argv[1:] if args is None else list(args), datamodule)


def command_line(
    kind: type[GaitCLI],
    args: list[str],
    datamodule: type[datamodules.GaitDataModule] = datamodules.GaitDataModule,
) -> GaitCLI:
    """A run of these words, as far as the kind takes it.

    Raises:
        InputError: on a mistake of the user.
    """
    for pattern in QUIET:
        warnings.filterwarnings("ignore", pattern)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(_not_a_tip)
    memory.keep_pages()  # before the first large tensor; does nothing for those of a GPU
    try:
        return kind(
            methods.GaitMethod,
            datamodule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_callback=SavedConfig,
            # batches are shared out by our samplers; a few sanity batches are no gallery; what
            # several processes compute is what one computes
            trainer_defaults={
                "use_distributed_sampler": False,
                "num_sanity_val_steps": 0,
                "sync_batchnorm": True,
            },
            parser_class=Parser,
            args=args,
        )
    except Exception as error:
        if complaint := complaint_of(error):
            raise InputError(complaint) from error
        raise


def complaint_of(error: Exception) -> str:
    """What of an error of others is the user's to mend, as a sentence; empty if nothing is."""
    if isinstance(error, InputError):
        return ""
    if isinstance(error, RuntimeError) and (told := lost_process(error)):
        return (
            f"another process of this run has ended or does not answer ({told}); what it says "
            "stands above or in its log; `gaitbench fit --resume` goes on"
        )
    origin = traceback.extract_tb(error.__traceback__)[-1].filename
    if isinstance(error, MISTAKES) or not OTHERS & {*Path(origin).parts}:
        return ""
    said = one_sentence(str(error))[:300].rstrip(".! ")
    return f"{said}; mend this setting, most likely of `trainer`"


def script(datamodule: type[datamodules.GaitDataModule]) -> int:
    """The whole of a script that fixes the dataset: exit status 0, or 2 after a user's mistake."""
    return guarded(lambda: main(datamodule))


def _not_a_tip(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()
