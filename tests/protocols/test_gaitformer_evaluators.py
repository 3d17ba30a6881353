"""The datasets' protocols that GaitFormer's evaluators define, against the authors' figures."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gaitbench.datamodules import FVG, CasiaB, CasiaBTracks
from gaitbench.fvg import SESSION_SUBJECTS
from gaitbench.protocols import AttributeProtocol, Protocol, evaluate, evaluate_attributes
from tests.goldens import GAITFORMER, golden, unpacked_folder

FOLDER = unpacked_folder("evaluators")
GOLDEN = golden("evaluators", GAITFORMER)
KINDS = {"NM": "A", "CL": "B", "BG": "C"}
GENDER = {
    "precision": "weighted_precision",
    "recall": "weighted_recall",
    "f1": "weighted_f1",
    "accuracy": "accuracy",
    "roc_auc": "auroc",
    "ap": "ap",
}


def recognition(name: str) -> Protocol:
    protocol = {**CasiaBTracks.protocols, **FVG.protocols}[name]
    assert isinstance(protocol, Protocol)
    return protocol


def casia_b() -> tuple[np.ndarray, pd.DataFrame]:
    """Embeddings and rows of the subjects that are tested."""
    table = pd.read_csv(FOLDER / "casia_annotations.csv")
    tested = (table["track_id"] > 62).to_numpy()
    names = {"track_id": "subject", "type": "condition", "run_id": "number", "camera_id": "view"}
    table = table.rename(columns=names)[tested]
    table["subject"] = table["subject"].astype(str).str.zfill(3)
    return GOLDEN["casia/embeddings"][tested], table.reset_index(drop=True)


def fvg(name: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Which rows are of tested subjects, and these rows."""
    table = pd.read_csv(FOLDER / f"{name}.csv")
    tested = (table["track_id"] > 136).to_numpy()
    number = table["run_id"].astype(str).str.zfill(2)
    table["recording"] = table["session_id"].astype(str) + "-" + number
    table["subject"] = table["track_id"].astype(str).str.zfill(3)
    return tested, table[tested].reset_index(drop=True)


def cells(result: Any, probes: str) -> pd.DataFrame:
    table: pd.DataFrame = result.table
    return table[(table["probe_set"] == probes) & (table["metric"] == "rank1")]


@pytest.mark.parametrize("probes", KINDS)
def test_casia_b_pooled_and_in_pairs(probes: str) -> None:
    kind = KINDS[probes]
    pooled = evaluate(*casia_b(), recognition("casia_b.pooled"), bootstrap=0)
    found = cells(pooled, probes).sort_values("probe_view")
    assert found["probe_view"].tolist() == GOLDEN[f"casia/single_{kind}/probe_angle"].tolist()
    expected = GOLDEN[f"casia/single_{kind}/accuracy"]
    np.testing.assert_allclose(found["value"].to_numpy(), expected, atol=1e-9)
    mean = float(GOLDEN[f"casia/single_{kind}/mean"])
    assert pooled.metrics[probes]["rank1"] == pytest.approx(mean, abs=1e-9)
    written = pd.read_csv(FOLDER / f"expected_CASIA_{kind}.csv")
    np.testing.assert_allclose(found["value"].to_numpy(), written["Accuracy"], atol=1e-9)

    pairs = evaluate(*casia_b(), recognition("casia_b.set"), bootstrap=0)
    found = cells(pairs, probes).set_index(["gallery_view", "probe_view"])["value"]
    angles = (GOLDEN[f"casia/set_{kind}/{side}_angle"].astype(int) for side in ("gallery", "probe"))
    expected = GOLDEN[f"casia/set_{kind}/accuracy"]
    assert len(found) == len(expected) == 25
    for pair, accuracy in zip(zip(*angles, strict=True), expected, strict=True):
        assert found[pair] == pytest.approx(accuracy, abs=1e-9)
    assert pairs.metrics[probes]["rank1"] == pytest.approx(expected.mean(), abs=1e-9)


def test_casia_b_pairs_as_written() -> None:
    found = cells(evaluate(*casia_b(), recognition("casia_b.set"), bootstrap=0), "NM")
    found = found.set_index(["gallery_view", "probe_view"])["value"]
    for line in pd.read_csv(FOLDER / "expected_CASIA_angles.csv").itertuples():
        assert found[int(line[1]), int(line[2])] == pytest.approx(line[3], abs=1e-9)


def test_casia_b_pooled_with_the_same_view() -> None:
    protocol = replace(recognition("casia_b.pooled"), exclude_same_view=False)
    found = cells(evaluate(*casia_b(), protocol, bootstrap=0), "NM").sort_values("probe_view")
    expected = GOLDEN["casia/single_A_same_angle/accuracy"]
    np.testing.assert_allclose(found["value"].to_numpy(), expected, atol=1e-9)


def test_casia_b_metric_that_checkpoints_are_chosen_by() -> None:
    found = evaluate(*casia_b(), recognition("casia_b.pooled"), bootstrap=0).metrics["NM"]["rank1"]
    assert found == pytest.approx(float(GOLDEN["casia/trainer_metric"]), abs=1e-9)


@pytest.mark.parametrize("name", ["WS", "CB", "CL", "CBG", "ALL"])
def test_fvg(name: str) -> None:
    tested, table = fvg("fvg_annotations")
    embeddings = GOLDEN["fvg/embeddings"][tested]
    found = evaluate(embeddings, table, recognition(f"fvg.{name.lower()}"), bootstrap=0)
    expected = float(GOLDEN[f"fvg/{name}"])
    assert found.metrics[name]["rank1"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["WS", "CB", "CL", "CBG", "ALL"])
def test_fvg_of_the_small_folder(name: str) -> None:
    with np.load(unpacked_folder("import") / "expected.npz", allow_pickle=False) as file:
        embeddings = file["fvg_test/representation"]
        keys = [file[f"fvg_test/{key}_code"] for key in ("track", "session", "run")]
        expected = json.loads(str(file["fvg_test/protocols"]))
    subject, session, number = keys
    recording = [f"{s + 1}-{n + 1:02d}" for s, n in zip(session, number, strict=True)]
    table = pd.DataFrame({"subject": subject.astype(str), "recording": recording})
    found = evaluate(embeddings, table, recognition(f"fvg.{name.lower()}"), bootstrap=0)
    assert found.metrics[name]["rank1"] == pytest.approx(expected[name], abs=1e-9)


def test_fvg_all_of_its_authors_holds_every_other_video() -> None:
    """Also those of the protocols that GaitFormer's ALL leaves out; by a loop over the probes."""
    random = np.random.default_rng(5)
    people = {1: (1, 2, 147), 2: (148, 149), 3: (1, 2)}
    keys = [(s, n, r) for n, some in people.items() for s in some for r in range(1, 13)]
    table = pd.DataFrame(
        {
            "subject": [f"{s:03d}" for s, *_ in keys],
            "recording": [f"{n}-{r:02d}" for _, n, r in keys],
        }
    )
    points = random.standard_normal((len(keys), 3)).astype(np.float32)
    found = evaluate(points, table, recognition("fvg.all_official"), bootstrap=0).metrics["ALL"]
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    gallery = [i for i, (_, n, r) in enumerate(keys) if r == 2 and n in (1, 2)]
    hits = []
    for i in set(range(len(keys))) - set(gallery):
        nearest = min(gallery, key=lambda j, i=i: np.abs(points[i] - points[j]).sum())  # type: ignore[misc]
        hits.append(keys[i][0] == keys[nearest][0])
    assert found["n"] == len(hits) == 5 * 11 + 2 * 12
    assert found["rank1"] == pytest.approx(np.mean(hits))
    probes = set(recognition("fvg.all_official").probes["ALL"]["recording"])
    for name in ("ws", "cb", "cl", "cbg", "all"):
        assert set(recognition(f"fvg.{name}").probes[name.upper()]["recording"]) <= probes
    assert len(probes) == 11 + 11 + 12
    assert {int(name[0]) for name in probes} == set(SESSION_SUBJECTS)


def judged(protocol: Any, predicted: np.ndarray, table: pd.DataFrame) -> dict[str, Any]:
    assert isinstance(protocol, AttributeProtocol)
    table = table.rename(columns={"gender": "Female"})
    told = pd.DataFrame({"Female": predicted})
    return dict(evaluate_attributes(told, table, protocol, bootstrap=0).metrics)


def test_gender_of_casia_b() -> None:
    table = pd.read_csv(FOLDER / "casia_gender_annotations.csv")
    table = table.rename(columns={"track_id": "subject", "camera_id": "view"})
    tested = (table["subject"] > 99).to_numpy()
    assert sorted({f"{s:03d}" for s in table["subject"][tested]}) == list(
        CasiaB.splits["99/25"].test
    )
    predicted = GOLDEN["casia_gender/p_female"][tested]
    found = judged(CasiaB.protocols["casia_b.gender"], predicted, table[tested])
    expected = json.loads((FOLDER / "expected_casia_gender.json").read_text())
    assert len(found) == len(expected)
    for part in expected:
        place = "ALL" if part["angle"] is None else f"ALL/{int(part['angle']):03d}"
        for theirs, ours in GENDER.items():
            assert found[place][ours] == pytest.approx(part[theirs], abs=1e-9)
    metric = float(GOLDEN["casia_gender/trainer_metric"])
    assert found["ALL"]["weighted_f1"] == pytest.approx(metric, abs=1e-9)


def test_gender_of_fvg() -> None:
    tested, table = fvg("fvg_gender_annotations")
    found = judged(FVG.protocols["fvg.gender"], GOLDEN["fvg_gender/p_female"][tested], table)
    assert list(found) == ["WS", "CB", "CL", "CBG", "ALL", "EVERY"]
    for part in json.loads((FOLDER / "expected_fvg_gender.json").read_text()):
        place = {"BG": "CB"}.get(part["kind"], part["kind"])  # theirs is the carried bag
        for theirs, ours in GENDER.items():
            assert found[place][ours] == pytest.approx(part[theirs], abs=1e-9)
    metric = float(GOLDEN["fvg_gender/trainer_metric"])
    assert found["ALL"]["weighted_f1"] == pytest.approx(metric, abs=1e-9)
    assert found["EVERY"]["n"] == len(table)
