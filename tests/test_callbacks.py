import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from gaitbench import callbacks, tools
from gaitbench.callbacks import (
    EmbeddingCollector,
    PredictionWriter,
    ProtocolEvaluation,
    Scores,
    judge,
    verdicts,
)
from gaitbench.datamodules import Biwi, CasiaB
from gaitbench.errors import InputError
from gaitbench.protocols import AttributeProtocol, ClosedSetProtocol, Evaluation

TABLE = pd.DataFrame(
    {
        "start": [0, 9, 18, 27, 36],
        "length": [9] * 5,
        "subject": ["075", "075", "076", "076", "076"],
        "condition": ["nm", "nm", "nm", "bg", "cl"],
        "number": [1, 5, 1, 1, 2],
        "view": [0, 90, 0, 18, 180],
        "missing": [0, 1, 2, 3, 4],
    }
)


class Keeper(EmbeddingCollector):
    """Keeps what it is given."""

    def on_embeddings(
        self,
        trainer: Any,
        pl_module: Any,
        embeddings: Tensor,
        sequences: pd.DataFrame,
        attributes: pd.DataFrame | None,
        scores: Scores | None = None,
    ) -> dict[str, float]:
        self.embeddings, self.sequences, self.attributes = embeddings, sequences, attributes
        self.scores = scores
        return {"n": float(len(sequences))}


class OneProcess:
    """As much of a trainer as a collector asks for."""

    sanity_checking = False
    world_size = 1
    default_root_dir = "."
    is_global_zero = True
    loggers: tuple[Any, ...] = ()

    def __init__(self, stage: str = "test", log_dir: Path | None = None) -> None:
        self.state = SimpleNamespace(fn=stage)
        self.datamodule = SimpleNamespace(
            sequences=TABLE,
            protocols=CasiaB.protocols,
            default_protocols=CasiaB.default_protocols,
        )
        self.strategy = SimpleNamespace(broadcast=lambda figures: figures)
        self.log_dir = log_dir


class Log:
    """As much of a module as a collector asks for."""

    attribute_names = ("Female", "No carrying")

    def __init__(self) -> None:
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: float, **settings: Any) -> None:
        self.logged[name] = value


def feed(callback: EmbeddingCollector, trainer: Any, *batches: tuple[list[int], Tensor]) -> None:
    for i, (rows, embedding) in enumerate(batches):
        outputs = {"embedding": embedding, "row": torch.tensor(rows)}
        if callback.__dict__.get("tell"):
            outputs["attributes"] = told(*rows)
        callback.on_test_batch_end(trainer, None, outputs, None, i)  # type: ignore[arg-type]


def told(*rows: int) -> Tensor:
    """Attributes that tell their row."""
    return torch.tensor([[row / 8, 1 - row / 8] for row in rows])


def points(*rows: int) -> Tensor:
    """An embedding that tells its row."""
    return torch.tensor([[float(row), 1.0] for row in rows])


def test_embeddings_come_one_a_sequence_in_the_order_of_the_table() -> None:
    keeper, trainer, log = Keeper(), OneProcess(), Log()
    feed(keeper, trainer, ([4, 0], points(4, 0)), ([2, 4], points(2, 4)), ([0], points(0)))
    keeper.on_test_epoch_end(trainer, log)  # type: ignore[arg-type]
    assert keeper.embeddings.tolist() == points(0, 2, 4).tolist()
    assert keeper.sequences.index.tolist() == [0, 2, 4]
    assert keeper.sequences["subject"].tolist() == ["075", "076", "076"]
    assert log.logged == {"test/n": 3.0}


def test_attributes_come_with_the_embeddings() -> None:
    """The mean of a row's windows, by name, or None where the method tells none."""
    keeper, trainer = Keeper(), OneProcess()
    feed(keeper, trainer, ([2, 0], points(2, 0)))
    keeper.on_test_epoch_end(trainer, Log())  # type: ignore[arg-type]
    assert keeper.attributes is None
    keeper.tell = True  # type: ignore[attr-defined]
    feed(keeper, trainer, ([4, 2], points(4, 2)), ([4], points(4)))
    outputs = {"embedding": points(2), "row": torch.tensor([2]), "attributes": told(6)}
    keeper.on_test_batch_end(trainer, None, outputs, None, 2)  # type: ignore[arg-type]
    keeper.on_test_epoch_end(trainer, Log())  # type: ignore[arg-type]
    assert keeper.attributes is not None
    assert list(keeper.attributes) == ["Female", "No carrying"]
    assert keeper.attributes.index.tolist() == [2, 4]
    assert keeper.attributes["Female"].tolist() == [0.5, 0.5]
    assert keeper.attributes["No carrying"].tolist() == [0.5, 0.5]


def test_attributes_that_are_not_finite_are_refused_by_name() -> None:
    keeper, trainer = Keeper(), OneProcess()
    outputs = {"embedding": points(0, 3), "row": torch.tensor([0, 3]), "attributes": told(0, 3)}
    outputs["attributes"][1, 1] = float("nan")
    keeper.on_test_batch_end(trainer, None, outputs, None, 0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"1 of 2 predicted attributes .* 076-bg-01-018;"):
        keeper.on_test_epoch_end(trainer, Log())  # type: ignore[arg-type]


def test_every_run_starts_afresh() -> None:
    keeper, trainer = Keeper(), OneProcess()
    for row in (3, 1):
        feed(keeper, trainer, ([row], points(row)))
        keeper.on_test_epoch_end(trainer, Log())  # type: ignore[arg-type]
        assert keeper.sequences.index.tolist() == [row]


def test_parts_of_all_processes_are_put_together() -> None:
    """Two processes, whose shares were padded with a row that both hold."""
    keeper, trainer = Keeper(), OneProcess()
    trainer.world_size = 2
    other = {2: points(1, 3), 1: torch.tensor([1, 3])}
    trainer.strategy.all_gather = lambda mine: torch.stack([mine, other[mine.ndim]])
    feed(keeper, trainer, ([0, 1], points(0, 1)))
    keeper.on_test_epoch_end(trainer, Log())  # type: ignore[arg-type]
    assert keeper.embeddings.tolist() == points(0, 1, 3).tolist()
    assert keeper.sequences.index.tolist() == [0, 1, 3]


def test_only_the_first_process_works_on_them() -> None:
    keeper, trainer, log = Keeper(), OneProcess(), Log()
    trainer.is_global_zero = False
    feed(keeper, trainer, ([0], points(0)))
    keeper.on_test_epoch_end(trainer, log)  # type: ignore[arg-type]
    assert not hasattr(keeper, "embeddings")
    assert log.logged == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_embedding_that_is_not_finite_is_refused_by_name(value: float) -> None:
    keeper, trainer = Keeper(), OneProcess()
    bad = points(0, 3, 4)
    bad[1:, 0] = value
    feed(keeper, trainer, ([0, 3, 4], bad))
    with pytest.raises(InputError, match=r"2 of 3 embeddings are not finite.* 076-bg-01-018;"):
        keeper.on_test_epoch_end(trainer, Log())  # type: ignore[arg-type]
    assert not hasattr(keeper, "embeddings")


def test_sanity_checks_and_other_runs_are_passed_over(tmp_path: Path) -> None:
    keeper, trainer = Keeper(), OneProcess()
    trainer.sanity_checking = True
    feed(keeper, trainer, ([0], points(0)))
    assert keeper._finish(trainer, None) == {}  # type: ignore[arg-type]
    writer = PredictionWriter(str(tmp_path / "out"))
    feed(writer, OneProcess("test"), ([0], points(0)))
    writer.on_test_epoch_end(OneProcess("test"), Log())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_unknown_protocol_is_refused_before_anything_is_computed() -> None:
    judge = ProtocolEvaluation(["casia_b.cross_view", "casia_b.crossview"])
    with pytest.raises(InputError, match=r"'casia_b.crossview' is unknown; .*casia_b.pooled"):
        judge.setup(OneProcess(), None, "test")  # type: ignore[arg-type]


GENDER = AttributeProtocol("x.gender", "Who is a woman.", {"ALL": {}}, ("Female",))


def labelled(stage: str, out: Path) -> OneProcess:
    """A trainer whose data know attributes and have a protocol of them beside one of people."""
    trainer = OneProcess(stage, out)
    table = TABLE.assign(Female=[0.0, 0.0, 1.0, 1.0, 1.0])
    protocols = {"casia_b.first_walk": CasiaB.protocols["casia_b.first_walk"], "x.gender": GENDER}
    trainer.datamodule = SimpleNamespace(
        sequences=table, dataset="x", protocols=protocols, default_protocols=("x.gender",)
    )
    return trainer


@pytest.mark.parametrize("stage", ["test", "fit"])
def test_attributes_are_judged_where_they_are_told(
    stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer, log, judge = (
        labelled(stage, tmp_path),
        Log(),
        ProtocolEvaluation(bootstrap=10, projector=5),
    )
    judge.setup(trainer, None, stage)  # type: ignore[arg-type]
    judge.tell = True  # type: ignore[attr-defined]
    feed(judge, trainer, (list(range(5)), points(*range(5))))
    judge.on_test_epoch_end(trainer, log)  # type: ignore[arg-type]
    assert log.logged == {"test/x.gender/ALL/auroc": 1.0}
    assert ("### x.gender" in capsys.readouterr().out) == (stage == "test")
    assert (tmp_path / "metrics.json").exists() == (stage == "test")
    assert not [*tmp_path.glob("projector*")]  # there is no TensorBoard
    if stage == "test":
        metrics = json.loads((tmp_path / "metrics.json").read_text())
        assert metrics["x.gender"]["ALL"]["auroc"] == 1
        assert (tmp_path / "tables" / "x.gender.png").read_bytes().startswith(b"\x89PNG")


def test_attributes_that_nobody_tells_are_left_out_unless_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer, log, judge = labelled("test", tmp_path), Log(), ProtocolEvaluation()
    judge.setup(trainer, None, "test")  # type: ignore[arg-type]
    feed(judge, trainer, ([0, 1], points(0, 1)))
    judge.on_test_epoch_end(trainer, log)  # type: ignore[arg-type]
    shown = capsys.readouterr().out
    assert "attributes are not judged: the network tells none" in shown
    assert "nothing to judge: x has no protocol of recognition" in shown
    asked = ProtocolEvaluation(["x.gender"])
    asked.setup(trainer, None, "test")  # type: ignore[arg-type]
    feed(asked, trainer, ([0, 1], points(0, 1)))
    with pytest.raises(InputError, match=r"x.gender judges attributes, and this network"):
        asked.on_test_epoch_end(trainer, log)  # type: ignore[arg-type]


# -------------------------------------------------------------------- predictions, out and in again


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A run's folder with predictions of the table."""
    callbacks.write_predictions(tmp_path / "predictions", points(*range(5)).numpy(), TABLE)
    return tmp_path


def test_predictions_are_read_as_they_were_written(written: Path) -> None:
    for place in (written, written / "predictions"):
        values, table = callbacks.read_predictions(place)
        assert values.dtype == np.float32
        assert values.tolist() == points(*range(5)).tolist()
        assert list(table) == ["subject", "condition", "number", "view", "frames", "missing"]
        for name in ("subject", "condition", "number", "view"):
            assert table[name].tolist() == TABLE[name].tolist()
        assert table["frames"].tolist() == TABLE["length"].tolist()


def test_attributes_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Also with names that have a space and a comma; without them an old file is removed."""
    names = ["Female", "No carrying", "a,b"]
    values = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    attributes = pd.DataFrame(values, columns=names)
    callbacks.write_predictions(tmp_path, points(*range(5)).numpy(), TABLE, attributes)
    table = callbacks.read_predictions(tmp_path)[1]
    found = callbacks.read_attributes(tmp_path, table)
    assert found is not None
    assert list(found) == names
    np.testing.assert_array_equal(found.to_numpy(np.float32), values)
    written = pd.read_csv(tmp_path / "attributes.csv", dtype=str)
    assert list(written) == ["subject", "condition", "number", "view", *names]
    with pytest.raises(InputError, match=r"attributes.csv and sequences.csv beside it list other"):
        callbacks.read_attributes(tmp_path, table[:4])
    with pytest.raises(InputError, match=r"attributes.csv and sequences.csv beside it list other"):
        callbacks.read_attributes(tmp_path, table.assign(view=7))
    text = (tmp_path / "attributes.csv").read_text()
    (tmp_path / "attributes.csv").write_text(text.replace("\n075,nm,1,0,0.", "\n075,nm,1,0,x0."))
    with pytest.raises(InputError, match="a value in column Female that is no number"):
        callbacks.read_attributes(tmp_path, table)
    (tmp_path / "attributes.csv").write_text("")
    with pytest.raises(InputError, match=r"attributes.csv is no table"):
        callbacks.read_attributes(tmp_path, table)
    callbacks.write_predictions(tmp_path, points(*range(5)).numpy(), TABLE)
    assert callbacks.read_attributes(tmp_path, table) is None


def test_written_attributes_are_judged_again_without_a_model(tmp_path: Path) -> None:
    """By labels in ``sequences.csv``; refused where nothing was told of attributes."""
    table = TABLE.assign(Female=[0.0, 0.0, 1.0, 1.0, 0.8])
    attributes = pd.DataFrame({"Bag": [0.5] * 5, "Female": [0.1, 0.2, 0.9, 0.3, 0.4]})
    embeddings = points(*range(5)).numpy()
    callbacks.write_predictions(tmp_path / "predictions", embeddings, table, attributes)
    words = [str(tmp_path), "--bootstrap=0", "--protocol=fvg.gender"]
    with pytest.raises(InputError, match="needs the column"):
        tools.run("evaluate", words)
    tools.run("evaluate", [*words[:2], "--protocol=casia_b.gender"])
    metrics = json.loads((tmp_path / "metrics.json").read_text())["casia_b.gender"]
    assert metrics["ALL"]["auroc"] == 1
    assert metrics["ALL"]["recall"] == pytest.approx(1 / 3)
    assert metrics["ALL/000"]["n"] == 2
    callbacks.write_predictions(tmp_path / "predictions", embeddings, table)
    with pytest.raises(InputError, match=r"casia_b.gender judges attributes, and this network"):
        tools.run("evaluate", [*words[:2], "--protocol=casia_b.gender"])


def test_half_precision_is_written_as_float32(tmp_path: Path) -> None:
    callbacks.write_predictions(tmp_path, points(*range(5)).numpy().astype(np.float16), TABLE)
    assert np.load(tmp_path / "embeddings.npy").dtype == np.float32


def _remove(folder: Path, name: str) -> None:
    (folder / name).unlink()


def _cut(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:20])


def _empty(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")


def _binary(folder: Path, name: str) -> None:
    (folder / name).write_bytes(bytes(range(256)) * 4)


def _save(folder: Path, values: Any) -> None:
    np.save(folder / "embeddings.npy", values, allow_pickle=True)


def _archive(folder: Path) -> None:
    np.savez(folder / "archive.npz", embeddings=np.zeros((5, 2), np.float32))
    (folder / "archive.npz").replace(folder / "embeddings.npy")


def _edit(folder: Path, old: str, new: str) -> None:
    path = folder / "sequences.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


DAMAGE = {
    "no embeddings": (lambda f: _remove(f, "embeddings.npy"), "embeddings.npy does not exist"),
    "no table": (lambda f: _remove(f, "sequences.csv"), "sequences.csv does not exist"),
    "embeddings cut": (lambda f: _cut(f, "embeddings.npy"), "embeddings.npy is no plain numpy"),
    "embeddings empty": (lambda f: _empty(f, "embeddings.npy"), "embeddings.npy is no plain numpy"),
    "embeddings of text": (lambda f: (f / "embeddings.npy").write_text("1,2"), "no plain numpy"),
    "pickled objects": (lambda f: _save(f, np.array([{}, 1], object)), "no plain numpy"),
    "words": (lambda f: _save(f, np.array([["a"]] * 5)), "embeddings.npy"),
    "one axis": (lambda f: _save(f, np.zeros(5, np.float32)), r"has shape \(5,\)"),
    "too few": (lambda f: _save(f, np.zeros((4, 2), np.float32)), "shape .4, 2. .* has 5 rows"),
    "not finite": (
        lambda f: _save(f, np.array([[0], [1], [2], [np.nan], [4]])),
        "not finite in row 3",
    ),
    "an archive": (_archive, "embeddings.npy"),
    "table empty": (lambda f: _empty(f, "sequences.csv"), "sequences.csv is no table"),
    "table of bytes": (lambda f: _binary(f, "sequences.csv"), "sequences.csv"),
    "ragged": (lambda f: _edit(f, "075,nm,1", "075,nm,1,9,9,9"), "sequences.csv"),
    "no subject": (lambda f: _edit(f, "subject", "person"), "lacks the column subject"),
    "number of text": (lambda f: _edit(f, "nm,5", "nm,five"), "column number"),
    "view of half degrees": (lambda f: _edit(f, ",180,", ",180.5,"), "column view"),
    "view is missing": (lambda f: _edit(f, ",180,", ",,"), "column view"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_predictions_are_refused(damage: str, written: Path) -> None:
    harm, message = DAMAGE[damage]
    harm(written / "predictions")
    with pytest.raises(InputError, match=message) as refused:
        callbacks.read_predictions(written)
    assert "\n" not in str(refused.value)
    assert str(written) in str(refused.value)


def test_predictions_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/predictions.* cannot be written"):
        callbacks.write_predictions(
            tmp_path / "file" / "predictions", points(*range(5)).numpy(), TABLE
        )
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_scores_come_with_the_subjects_they_are_of() -> None:
    """Of frames or of wholes; a row's windows are averaged."""
    keeper, trainer = Keeper(), OneProcess()
    log: Any = Log()
    log.subjects = ("075", "076")
    for shape in ((2,), (3, 2)):
        given = torch.randn(3, *shape)
        outputs = {"embedding": points(4, 1, 4), "row": torch.tensor([4, 1, 4]), "scores": given}
        keeper.on_test_batch_end(trainer, None, outputs, None, 0)  # type: ignore[arg-type]
        keeper.on_test_epoch_end(trainer, log)  # type: ignore[arg-type]
        assert isinstance(keeper.scores, Scores)
        assert keeper.scores.subjects == ("075", "076")
        assert np.allclose(keeper.scores.values, torch.stack([given[1], given[[0, 2]].mean(0)]))
    given[1, 2, 0] = float("inf")
    outputs = {"embedding": points(4, 1, 4), "row": torch.tensor([4, 1, 4]), "scores": given}
    keeper.on_test_batch_end(trainer, None, outputs, None, 0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1 of 2 scores are not finite"):
        keeper.on_test_epoch_end(trainer, log)  # type: ignore[arg-type]


def test_known_subjects_are_judged_where_there_are_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = ClosedSetProtocol("x.closed_set", "Known subjects.")
    trainer = OneProcess(log_dir=tmp_path)
    trainer.datamodule.protocols = {closed.id: closed}
    trainer.datamodule.default_protocols = (closed.id,)
    trainer.datamodule.dataset = "x"
    callback = ProtocolEvaluation(bootstrap=0)
    callback.setup(trainer, None, "test")  # type: ignore[arg-type]
    scores = Scores(np.eye(2, dtype=np.float32)[[0, 1, 1, 1, 1]], sorted(set(TABLE["subject"]))[:2])
    chosen = TABLE[TABLE["subject"].isin(scores.subjects)]
    scores = scores._replace(values=scores.values[: len(chosen)])
    judged = callback.on_embeddings  # the rest of a run is tested by command line
    callback.directory = tmp_path
    figures = judged(trainer, None, points(*range(len(chosen))), chosen, None, scores)  # type: ignore[arg-type]
    sets = {name.split("/")[1] for name in figures}
    assert sets == set(chosen["condition"])  # each condition is a set
    assert (tmp_path / "metrics.json").is_file()
    # without scores there is nothing to judge, unless they are asked for by name
    assert judged(trainer, None, points(0), chosen[:1], None) == {}  # type: ignore[arg-type]
    assert "nothing to judge" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"x\.closed_set judges a classifier of known subjects"):
        judge([closed], points(0), chosen[:1], None)


def spatial(table: pd.DataFrame, out: Path, stage: str = "test") -> OneProcess:
    """A run on a set of 3D skeletons."""
    trainer = OneProcess(stage, out)
    names = {"protocols": Biwi.protocols, "default_protocols": Biwi.default_protocols}
    trainer.datamodule = SimpleNamespace(sequences=table, dataset="biwi", **names)
    return trainer


def test_default_protocols_that_find_nothing_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In training they say so once; a test that they leave nothing of is a mistake."""
    parts = ["train", "walking", "still", "walking", "still"]
    table = TABLE.assign(condition=parts)
    callback = ProtocolEvaluation(bootstrap=0)
    training = spatial(table, tmp_path, "fit")
    callback.setup(training, None, "fit")  # type: ignore[arg-type]
    callback.directory = tmp_path
    for _ in range(2):
        assert callback.on_embeddings(training, None, points(0), table[:1], None) == {}  # type: ignore[arg-type]
    told = capsys.readouterr().out
    assert told.count("not judged: biwi.walking wants gallery sequences with condition still") == 1
    assert told.count("not judged: biwi.still wants") == 1
    both = callback.on_embeddings(training, None, points(*range(5)), table, None)  # type: ignore[arg-type]
    assert set(both) == {
        f"biwi.{part}/{part}/{name}" for part in ("walking", "still") for name in ("rank1", "map")
    }
    test = spatial(table, tmp_path)
    callback.setup(test, None, "test")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"biwi\.walking wants gallery .* of the 2 sequences"):
        callback.on_embeddings(test, None, points(0, 1), table[:2], None)  # type: ignore[arg-type]
    named = ProtocolEvaluation(["biwi.still"], bootstrap=0)
    named.setup(training, None, "fit")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"biwi\.still wants"):
        named.on_embeddings(training, None, points(0), table[:1], None)  # type: ignore[arg-type]


def test_retrieval_and_known_subjects_share_no_table(tmp_path: Path) -> None:
    table = TABLE.assign(condition=["still", "walking", "still", "walking", "walking"])
    scores = Scores(np.eye(2, dtype=np.float32)[[0, 0, 1, 1, 0]], ["075", "076"])
    chosen = [Biwi.protocols["biwi.walking"], ClosedSetProtocol("x.closed_set", "Known subjects.")]
    found = judge(chosen, points(*range(5)), table, None, scores, bootstrap=0)
    callbacks.publish(found, tmp_path)
    retrieval, closed = found
    assert not {*retrieval.to_markdown().splitlines()} & {
        line
        for line in closed.to_markdown().splitlines()
        if line.startswith("| ") and "rank" in line
    }
    assert "closed set" not in retrieval.to_markdown()
    assert "mAP" not in closed.to_markdown()
    names = sorted(path.name for path in (tmp_path / "tables").glob("*.csv"))
    assert names == ["biwi.walking.csv", "x.closed_set.csv"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert set(metrics) == {"biwi.walking", "x.closed_set"}
    assert "map" not in metrics["x.closed_set"]["walking"]
    assert "cmc_auc" not in metrics["biwi.walking"]["walking"]


@pytest.mark.parametrize("processes", [1, 2])
def test_predictions_go_to_a_file_as_they_come(processes: int, tmp_path: Path) -> None:
    """The bytes of an array that was held as a whole, with rows that two processes both had."""
    writer, trainer = PredictionWriter(str(tmp_path)), OneProcess("predict")
    batches = [([0, 2], points(0, 2)), ([4, 0], points(4, 0))]
    if processes == 2:
        trainer.world_size = 2
        other = iter([torch.tensor([1, 3]), points(1, 3), torch.tensor([3, 1]), points(3, 1)])
        trainer.strategy.all_gather = lambda mine: torch.stack([mine, next(other)])
    for i, (rows, embedding) in enumerate(batches):
        outputs = {"embedding": embedding, "row": torch.tensor(rows)}
        writer.on_predict_batch_end(trainer, None, outputs, None, i)  # type: ignore[arg-type]
        assert list(tmp_path.iterdir()) == []
    writer.on_predict_epoch_end(trainer, SimpleNamespace(device="cpu"))  # type: ignore[arg-type]
    expected = [0, 2, 4] if processes == 1 else [0, 1, 2, 3, 4]
    np.save(tmp_path / "whole.npy", points(*expected).numpy())
    assert (tmp_path / "embeddings.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    table = pd.read_csv(tmp_path / "sequences.csv", dtype={"subject": str})
    assert table["subject"].tolist() == TABLE["subject"].iloc[expected].tolist()


def test_predictions_that_are_not_finite_leave_nothing(tmp_path: Path) -> None:
    writer, trainer = PredictionWriter(str(tmp_path)), OneProcess("predict")
    outputs = {
        "embedding": points(0, 3) / torch.tensor([[1.0], [0.0]]),
        "row": torch.tensor([0, 3]),
    }
    writer.on_predict_batch_end(trainer, None, outputs, None, 0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"1 of 2 embeddings are not finite.* 076-bg-01-018;"):
        writer.on_predict_epoch_end(trainer, SimpleNamespace(device="cpu"))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_empty_list_of_protocols_judges_and_keeps_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer, judge = labelled("predict", tmp_path), ProtocolEvaluation([])
    judge.setup(trainer, None, "predict")  # type: ignore[arg-type]
    for rows, embeddings in (([0, 1], points(0, 1)), ([2], points(2))):
        batch = {"row": torch.tensor(rows), "embedding": embeddings}
        judge.on_predict_batch_end(trainer, None, batch)  # type: ignore[arg-type]
    assert judge._batches == []
    judge.on_predict_epoch_end(trainer, Log())  # type: ignore[arg-type]
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.rglob("metrics.json"))


# ------------------------------------------------------------------------------------- TensorBoard


def test_verdicts_against_a_loop() -> None:
    """In the order of the table, whatever that is."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        [(s, "nm", n, v) for s in ("a", "b", "c") for n in (1, 5) for v in (0, 36, 90)],
        columns=["subject", "condition", "number", "view"],
    ).iloc[rng.permutation(18)]
    values = rng.normal(size=(18, 3))
    (evaluation,) = judge(
        [CasiaB.protocols["casia_b.cross_view"]], torch.tensor(values), table, None, bootstrap=0
    )
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    subject, number, view = (table[name].to_numpy() for name in ("subject", "number", "view"))
    wanted = []
    for row in range(18):
        found = []
        for other in {0, 36, 90} - {view[row]}:
            gallery = np.flatnonzero((number == 1) & (view == other))
            distance = np.linalg.norm(values[gallery] - values[row], axis=1)
            found.append(subject[gallery[distance.argmin()]] == subject[row])
        told = "right" if all(found) else "right in some" if any(found) else "wrong"
        wanted.append(told if number[row] == 5 else "no probe")
    assert {*wanted} == {"right", "right in some", "wrong", "no probe"}
    assert isinstance(evaluation, Evaluation)
    assert verdicts(evaluation, table) == wanted
    assert verdicts(evaluation, table[3:5]) == wanted[3:5]


def test_pairs_of_large_validations_are_left_to_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """And to those that TensorBoard shows."""
    table = TABLE.assign(condition=["nm", "nm", "nm", "nm", "nm"], number=[1, 5, 1, 5, 5])
    shown: list[str] = []
    monkeypatch.setattr(callbacks, "show", lambda board, tag, picture, step: shown.append(tag))
    for most, board, kinds in (
        (5, SimpleNamespace(flush=list), {"views", "cmc", "det"}),
        (4, SimpleNamespace(flush=list), {"views", "cmc"}),
        (5, None, set()),
    ):
        monkeypatch.setattr(callbacks, "PAIRED_IN_TRAINING", most)
        monkeypatch.setattr(callbacks, "board_of", lambda trainer, board=board: board)
        trainer = OneProcess("fit")
        trainer.global_step = 3  # type: ignore[attr-defined]
        callback = ProtocolEvaluation(["casia_b.cross_view"])
        callback.setup(trainer, None, "fit")  # type: ignore[arg-type]
        shown.clear()
        callback.on_embeddings(trainer, None, points(*range(5)), table, None)  # type: ignore[arg-type]
        assert {*shown} == {f"val/casia_b.cross_view/{kind}" for kind in kinds}


def test_too_many_points_are_refused() -> None:
    for wrong in (-1, 10_001):
        with pytest.raises(InputError, match=f"projector is {wrong}; give 0 to 10,000"):
            ProtocolEvaluation(projector=wrong)
