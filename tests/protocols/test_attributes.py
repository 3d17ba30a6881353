"""Attributes against the authors' evaluators, and against scikit-learn."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from gaitbench.draw import attribute_chart
from gaitbench.errors import InputError
from gaitbench.protocols import (
    AttributeEvaluation,
    AttributeProtocol,
    evaluate_attributes,
    write_metrics,
)
from gaitbench.protocols.attributes import _Resampled, attribute_figures, figures_together
from tests.goldens import GAITFORMER, golden, unpacked_folder

FOLDER = unpacked_folder("evaluators")
GOLDEN = golden("evaluators", GAITFORMER)

# our names of the authors' figures
TOGETHER = {
    "mse": "mse",
    "log_loss": "log_loss",
    "hamming_loss": "error",
    "emr": "exact_match",
    "example_acc": "example_jaccard",
    "example_prec": "example_precision",
    "label_macro_acc": "macro_jaccard",
    "label_macro_prec": "macro_precision",
    "label_macro_recall": "macro_recall",
    "label_micro_acc": "micro_jaccard",
    "label_micro_prec": "micro_precision",
    "label_micro_recall": "micro_recall",
    "alpha_eval": "alpha",
}
SINGLE = {
    "mse": "mse",
    "median_absolute_error": "median_ae",
    "mean_absolute_error": "mae",
    "roc_auc": "auroc",
    "r2_score": "r2",
    "log_loss": "log_loss",
    "precision": "weighted_precision",
    "recall": "weighted_recall",
    "f1": "weighted_f1",
    "ap": "ap",
}
REFERENCE = AttributeProtocol("x.reference", "r", {"ALL": {}}, form="reference", undefined="nan")
REPAIRED = AttributeProtocol("x.attributes", "a", {"ALL": {}})


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def same(found: Any, expected: Any) -> bool:
    """Equal to 1e-9; what is not a number must be none on both sides."""
    expected = math.nan if expected is None else expected
    return bool(np.isclose(found, expected, rtol=0, atol=1e-9, equal_nan=True))


def walkers(n: int, names: tuple[str, ...], seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions that lean towards the truth, and a table of three walks a subject."""
    random = np.random.default_rng(seed)
    truth = random.random((n, len(names))).round(2)
    score = (0.6 * truth + 0.4 * random.random(truth.shape)).round(2)
    table = pd.DataFrame(truth, columns=list(names))
    table.insert(0, "subject", [f"{i // 3:03d}" for i in range(n)])
    table.insert(1, "view", np.arange(n) % 3 * 90)
    return pd.DataFrame(score, columns=list(names)), table


# ------------------------------------------------------------------------------- authors' figures


@pytest.mark.parametrize("tag", ["regular", "degenerate"])
def test_attributes_as_the_authors_program(tag: str) -> None:
    expected = read(f"expected_pai_{tag}")
    names = expected["attributes"]
    table = pd.read_csv(FOLDER / f"pai_{tag}_annotations.csv", dtype={"track_id": str})
    table = table.rename(columns={"track_id": "subject"})
    predicted = pd.DataFrame(GOLDEN[f"pai_{tag}/pred"], columns=names)
    found = evaluate_attributes(predicted, table, REFERENCE).metrics
    for theirs, ours in TOGETHER.items():
        assert same(found["ALL"][ours], expected["summary"][theirs]), theirs
    for name in names:
        for theirs, ours in SINGLE.items():
            assert same(found[f"ALL/{name}"][ours], expected["per_attribute"][name][theirs])
    assert not any(key.endswith("_ci95") for figures in found.values() for key in figures)


def test_attributes_of_the_small_dense_gait() -> None:
    folder = unpacked_folder("import")
    with np.load(folder / "expected.npz", allow_pickle=False) as file:
        told = file["densegait_validation/appearance"]
        expected = json.loads(str(file["densegait_validation/pai"]))
    table = pd.read_csv(folder / "densegait" / "validation" / "annotations.csv")
    names = [name for name in table if name not in ("file_name", "track_id")]
    table["subject"] = table["track_id"].astype(str)
    found = evaluate_attributes(pd.DataFrame(told, columns=names), table, REFERENCE)
    for theirs, ours in TOGETHER.items():
        assert same(found.metrics["ALL"][ours], expected[theirs]), theirs


# --------------------------------------------------------------------------- independent formulas


@given(
    st.integers(2, 40),
    st.integers(0, 10_000),
    st.sampled_from([1, 2, 6]),
    st.sampled_from([0.0, 0.3, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_figures_of_one_attribute_are_scikit_learns(
    n: int, seed: int, digits: int, level: float
) -> None:
    random = np.random.default_rng(seed)
    truth = (level * random.random(n)).round(digits)
    score = random.random(n).round(digits)
    found = attribute_figures(truth, score, undefined="zero")
    shows, tells = np.rint(truth), np.rint(score)
    settings_ = {"zero_division": 0.0, "labels": [0, 1]}
    for name in ("precision", "recall", "f1", "jaccard"):
        measure = getattr(sklearn_metrics, f"{name}_score")
        assert same(found[name], measure(shows, tells, zero_division=0.0))
        if name != "jaccard":
            assert same(
                found[f"weighted_{name}"], measure(shows, tells, average="weighted", **settings_)
            )
    assert same(found["accuracy"], sklearn_metrics.accuracy_score(shows, tells))
    assert same(found["error"] + found["accuracy"], 1)  # type: ignore[operator]
    assert same(found["mse"], sklearn_metrics.mean_squared_error(truth, score))
    assert same(found["mae"], sklearn_metrics.mean_absolute_error(truth, score))
    assert same(found["median_ae"], sklearn_metrics.median_absolute_error(truth, score))
    if shows.any():
        assert same(found["ap"], sklearn_metrics.average_precision_score(shows, score))
    else:
        assert math.isnan(found["ap"])  # type: ignore[arg-type]
    if 0 < shows.sum() < n:
        assert same(found["auroc"], sklearn_metrics.roc_auc_score(shows, score))
        expected = sklearn_metrics.balanced_accuracy_score(shows, tells)
        assert same(found["balanced_accuracy"], expected)
    else:
        assert math.isnan(found["auroc"])  # type: ignore[arg-type]
    if len(np.unique(truth)) > 1:
        assert same(found["r2"], sklearn_metrics.r2_score(truth, score))


@given(st.integers(1, 30), st.integers(2, 6), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_figures_together_are_scikit_learns(n: int, labels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, score = random.random((2, n, labels))
    single = [
        attribute_figures(t, s, undefined="zero") for t, s in zip(truth.T, score.T, strict=True)
    ]
    found = figures_together(truth, score, single, undefined="zero")
    shows, tells = np.rint(truth), np.rint(score)
    kinds = {"macro": "macro", "micro": "micro", "example": "samples"}
    for name in ("precision", "recall", "f1", "jaccard"):
        measure = getattr(sklearn_metrics, f"{name}_score")
        for ours, theirs in kinds.items():
            expected = measure(shows, tells, average=theirs, zero_division=0.0)
            assert same(found[f"{ours}_{name}"], expected), (ours, name)
    assert same(found["exact_match"], (shows == tells).all(1).mean())
    assert same(found["error"], sklearn_metrics.hamming_loss(shows, tells))
    soft = torch.nn.functional.binary_cross_entropy(torch.tensor(score), torch.tensor(truth))
    assert same(found["log_loss"], float(soft))


def test_certain_predictions_have_a_log_loss_unless_it_is_the_references() -> None:
    truth, score = np.array([0.0, 1.0, 0.25]), np.array([0.0, 0.0, 1.0])
    expected = torch.nn.functional.binary_cross_entropy(torch.tensor(score), torch.tensor(truth))
    assert same(attribute_figures(truth, score)["log_loss"], float(expected))
    assert not math.isfinite(attribute_figures(truth, score, "reference")["log_loss"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("undefined", "macro", "example"),
    [("skip", 1.0, 1.0), ("zero", 0.5, 0.5), ("one", 1.0, 1.0), ("nan", math.nan, math.nan)],
)
def test_a_share_of_nothing_counts_as_is_said(undefined: Any, macro: float, example: float) -> None:
    """The second attribute is never told, and nothing is told of the second walk."""
    truth, score = np.array([[1.0, 0.2], [0.0, 0.9]]), np.array([[0.9, 0.1], [0.2, 0.3]])
    single = [
        attribute_figures(t, s, undefined=undefined) for t, s in zip(truth.T, score.T, strict=True)
    ]
    found = figures_together(truth, score, single, undefined=undefined)
    assert same(found["macro_precision"], macro)
    assert same(found["example_precision"], example)
    assert same(found["micro_precision"], 1.0)


# -------------------------------------------------------------------------------------- intervals


@given(st.integers(2, 30), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_resampled_figures_are_those_of_repeated_rows(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, score = random.random((2, n, 3)).round(1)
    times = random.integers(0, 4, n)
    times[0] += 1
    found = _Resampled(truth, score).figures(times.astype(np.float64))
    rows = np.repeat(np.arange(n), times)
    for i in range(3):
        expected = attribute_figures(truth[rows, i], score[rows, i])
        for name in _Resampled.NAMES:
            assert same(found[name][i], expected[name]), name


def test_intervals_hold_the_figures_and_do_not_depend_on_the_order() -> None:
    predicted, table = walkers(60, ("Female", "Bag"))
    found = evaluate_attributes(predicted, table, REPAIRED, bootstrap=200)
    again = evaluate_attributes(predicted, table, REPAIRED, bootstrap=200)
    assert found.metrics == again.metrics
    for place, names in (
        ("ALL", ("macro_auroc", "macro_f1", "error")),
        ("ALL/Bag", ("auroc", "f1", "weighted_f1", "accuracy", "error")),
    ):
        for name in names:
            low, high = found.metrics[place][f"{name}_ci95"]  # type: ignore[misc]
            assert 0 <= low <= found.metrics[place][name] <= high <= 1
    plain = evaluate_attributes(predicted, table, REPAIRED, bootstrap=0)
    assert not any(key.endswith("_ci95") for figures in plain.metrics.values() for key in figures)


# --------------------------------------------------------------------------- sets, notes, refusals


def test_only_what_both_name_is_judged() -> None:
    predicted, table = walkers(12, ("Bag", "Female", "Boots"))
    found = evaluate_attributes(predicted, table.drop(columns="Bag"), REPAIRED, bootstrap=0)
    assert found.attributes == ("Female", "Boots")
    assert list(found.metrics) == ["ALL", "ALL/Female", "ALL/Boots"]
    assert found.notes == ["1 told attributes have no label: Bag."]
    assert found.metrics["ALL"]["attributes"] == 2


def test_a_single_attribute_has_a_line_a_set_and_view() -> None:
    predicted, table = walkers(30, ("Bag", "Female"))
    sets: dict[str, Any] = {"FRONT": {"view": (0,)}, "ALL": {}, "NONE": {"view": (7,)}}
    protocol = AttributeProtocol("x.gender", "g", sets, ("Female",), each_view=True)
    found = evaluate_attributes(predicted, table, protocol, bootstrap=0)
    places = ["FRONT", "FRONT/000", "ALL", "ALL/000", "ALL/090", "ALL/180"]
    assert list(found.metrics) == places
    assert [found.metrics[place]["n"] for place in places] == [10, 10, 30, 10, 10, 10]
    assert found.metrics["FRONT"] == found.metrics["ALL/000"]
    assert found.notes == ["NONE has no sequence and is left out."]
    assert list(found.headlines) == ["FRONT/auroc", "ALL/auroc"]
    assert list(found.areas()) == places
    front = found.table[(found.table["set"] == "FRONT") & found.table["view"].isna()]
    assert set(front["attribute"]) == {"Female"}
    values = front.set_index("metric")["value"]
    assert values["auroc"] == found.metrics["FRONT"]["auroc"]


def test_sequences_without_a_label_are_left_out() -> None:
    """As those of subjects that neither train nor are tested; one label alone must be there."""
    predicted, table = walkers(12, ("Bag", "Female"))
    kept = evaluate_attributes(predicted[3:], table[3:], REPAIRED, bootstrap=50)
    table.loc[:2, ["Bag", "Female"]] = math.nan
    found = evaluate_attributes(predicted, table, REPAIRED, bootstrap=50)
    assert found.metrics == kept.metrics
    assert found.notes == ["3 sequences have no label and are left out."]


def test_files_and_charts(tmp_path: Path) -> None:
    predicted, table = walkers(30, ("Bag_1", "Female", "Boots"))
    table["Boots"] = 0.1  # nobody shows them
    found = evaluate_attributes(predicted, table, REPAIRED, bootstrap=20)
    reference = evaluate_attributes(predicted, table, REFERENCE)
    for evaluation in (found, reference):
        evaluation.write(tmp_path)
    write_metrics([found, reference], tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert "auroc" not in metrics["x.attributes"]["ALL/Boots"]
    assert metrics["x.reference"]["ALL/Boots"]["auroc"] is None
    assert same(metrics["x.attributes"]["ALL"]["macro_auroc"], found.headlines["ALL/macro_auroc"])
    text = (tmp_path / "tables" / "x.attributes.md").read_text()
    assert "| ALL (%) | n | share | AUROC | AP | F1 | precision | recall | error |" in text
    assert "- ALL: all or none show Boots, so AUROC is not defined there" in text
    assert r"Bag\_1" in (tmp_path / "tables" / "x.attributes.tex").read_text()
    assert "weighted F1" in (tmp_path / "tables" / "x.reference.md").read_text()
    long = pd.read_csv(tmp_path / "tables" / "x.attributes.csv")
    assert ",".join(long) == "set,view,attribute,metric,value,n"
    assert list(found.areas()) == ["Bag_1", "Female"]
    axes = attribute_chart(found.areas(), "x").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Bag_1", "Female"]
    with pytest.raises(ValueError, match="at least one"):
        attribute_chart({})


def test_double_precision_leaves_no_trace() -> None:
    predicted, table = walkers(9, ("Female",))
    evaluate_attributes(predicted, table, REPAIRED, bootstrap=0)
    assert torch.get_default_dtype() == torch.float32


def judged(predicted: pd.DataFrame, table: pd.DataFrame, **settings_: Any) -> AttributeEvaluation:
    protocol = AttributeProtocol(
        **{"id": "x.y", "description": "d", "sets": {"ALL": {}}, **settings_}
    )
    return evaluate_attributes(predicted, table, protocol, bootstrap=0)


def test_what_cannot_be_judged_is_refused() -> None:
    predicted, table = walkers(9, ("Bag", "Female"))
    with pytest.raises(
        InputError, match=r"x.y judges the attribute Coat, which is not told \(only"
    ):
        judged(predicted, table, attributes=("Coat",))
    with pytest.raises(InputError, match=r"Bag, which is not known; give data.labels"):
        judged(predicted, table.drop(columns="Bag"), attributes=("Bag",))
    with pytest.raises(InputError, match="no attribute that is both told and known; told are Bag"):
        judged(predicted, table[["subject", "view"]])
    with pytest.raises(InputError, match=r"needs the column\(s\) recording, but"):
        judged(predicted, table, sets={"WS": {"recording": ("1-01",)}})
    with pytest.raises(InputError, match=r"none of its sequences among the 9 .* \(view 0/90/180\)"):
        judged(predicted, table, sets={"WS": {"view": (5,)}})
    for what, frame in (("label", table), ("prediction", predicted)):
        before = frame.loc[4, "Bag"]
        for value in (1.5, -0.1, math.nan):
            frame.loc[4, "Bag"] = value
            with pytest.raises(InputError, match=f"the {what} of Bag in row 4 is .*, expected a"):
                judged(predicted, table)
        frame.loc[4, "Bag"] = before
    with pytest.raises(ValueError, match="expected 9 predictions, got 8"):
        judged(predicted[:8], table)
    with pytest.raises(ValueError, match="slash"):
        judged(predicted, table, sets={"a/b": {}})


def test_many_sequences_have_fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaitbench.protocols.attributes.RESAMPLED", 18 * 5)
    predicted, table = walkers(9, ("Bag", "Female"))
    found = evaluate_attributes(predicted, table, REPAIRED, bootstrap=10)
    assert found.notes[0] == "ALL: intervals rest on 5 resamples, as it is so large."


def test_rounding_is_half_to_even() -> None:
    found = attribute_figures(np.array([0.5, 1.0, 0.0]), np.array([0.5, 1.0, 0.51]))
    assert found["share"] == pytest.approx(1 / 3)
    assert found["error"] == pytest.approx(1 / 3)
