from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitbench.errors import InputError
from gaitbench.protocols import Protocol, evaluate, unmet
from gaitbench.protocols.retrieval import METRICS

BASE = Protocol(
    id="test.base",
    description="For tests.",
    gallery={"condition": ("nm",), "number": range(1, 3)},
    probes={
        "NM": {"condition": ("nm",), "number": range(3, 100)},
        "CL": {"condition": ("cl",)},
    },
    gallery_views="each",
    exclude_same_view=True,
    unmatched="skip",
)
KINDS = [
    BASE,
    replace(BASE, unmatched="wrong", overall="all_cells", repeated="last"),
    replace(BASE, unmatched="wrong", overall="zero_same_view", normalize=False),
    replace(BASE, exclude_same_view=False),
    replace(BASE, distance="cosine"),
    replace(BASE, distance="l1", normalize=False),
    replace(BASE, gallery_views="pooled"),
    replace(BASE, gallery_views="pooled", exclude_same_view=False, unmatched="wrong"),
    replace(BASE, gallery_views="pooled", distance="l1"),
]


def walks(seed: int, subjects=5, views=(0, 60, 75), keep=0.8) -> tuple[np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    rows = [
        (f"{s:03d}", c, n, v)
        for s in range(subjects)
        for c, most in (("nm", 4), ("cl", 2))
        for n in range(1, most + 1)
        for v in views
        if rng.random() < keep
    ]
    table = pd.DataFrame(rows, columns=["subject", "condition", "number", "view"])
    people = rng.normal(size=(subjects, 6))[table["subject"].astype(int)]
    return (people + 0.8 * rng.normal(size=people.shape)).astype(np.float32), table


def loops(embeddings, table, protocol):
    """Every probe with every gallery, one at a time: {(set, gallery view, probe view): [...]}."""
    points = embeddings.astype(np.float64)
    if protocol.normalize or protocol.distance == "cosine":
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
        points = points.astype(np.float32).astype(np.float64)

    def rows(selection):
        return [i for i in range(len(table)) if all(table[c][i] in v for c, v in selection.items())]

    gallery = rows(protocol.gallery)
    galleries = (
        sorted({table.view[g] for g in gallery}) if protocol.gallery_views == "each" else [-1]
    )
    cells: dict = {}
    unmatched: dict = {}
    for name, selection in protocol.probes.items():
        for p in rows(selection):
            for view in galleries:
                items = [g for g in gallery if view in (-1, table.view[g]) and g != p]
                if view == -1 and protocol.exclude_same_view:
                    items = [g for g in items if table.view[g] != table.view[p]]
                if not items:
                    continue
                power = 1 if protocol.distance == "l1" else 2
                d = {g: (np.abs(points[g] - points[p]) ** power).sum() for g in items}
                items.sort(key=lambda g, d=d: d[g])
                ranks = [r for r, g in enumerate(items, 1) if table.subject[g] == table.subject[p]]
                same = view == table.view[p]
                if not ranks:
                    unmatched.setdefault((name, same), []).append(p)
                    if protocol.unmatched == "skip":
                        continue
                cells.setdefault((name, view, table.view[p]), []).append(
                    {
                        "rank1": float(any(r <= 1 for r in ranks)),
                        "rank5": float(any(r <= 5 for r in ranks)),
                        "rank10": float(any(r <= 10 for r in ranks)),
                        "map": np.mean([i / r for i, r in enumerate(ranks, 1)]) if ranks else 0.0,
                        "minp": len(ranks) / ranks[-1] if ranks else 0.0,
                        "subject": table.subject[p],
                        "probe": p,
                        "genuine": [d[g] for g in items if table.subject[g] == table.subject[p]],
                        "impostor": [d[g] for g in items if table.subject[g] != table.subject[p]],
                    }
                )
    return cells, unmatched


@pytest.mark.parametrize("kind", range(len(KINDS)))
@pytest.mark.parametrize("seed", [0, 1])
def test_against_loops(kind, seed) -> None:
    protocol = KINDS[kind]
    embeddings, table = walks(seed, keep=0.6)
    cells, unmatched = loops(embeddings, table, protocol)
    result = evaluate(embeddings, table, protocol, bootstrap=0)
    for name in protocol.probes:
        admitted = {
            key: trials
            for key, trials in cells.items()
            if key[0] == name and not (protocol.exclude_same_view and key[1] == key[2])
        }
        figures = result.metrics[name]
        for metric in METRICS:
            views: dict = {}
            for (_, _, view), trials in admitted.items():
                views.setdefault(view, []).append(np.mean([t[metric] for t in trials]))
            expected = np.mean([np.mean(means) for means in views.values()])
            assert figures[metric] == pytest.approx(expected)
        trials = [t for cell in admitted.values() for t in cell]
        people: dict = {}
        for t in trials:
            people.setdefault(t["subject"], []).append(t["rank1"])
        assert figures["rank1_per_subject"] == pytest.approx(
            np.mean([*map(np.mean, people.values())])
        )
        assert figures["trials"] == len(trials)
        assert figures["n"] == len({t["probe"] for t in trials})
        missing = len(unmatched.get((name, False), []))
        if not protocol.exclude_same_view:
            missing += len(unmatched.get((name, True), []))
        assert figures["unmatched"] == missing
        assert figures["genuine_pairs"] == sum(len(t["genuine"]) for t in trials)
    if protocol.overall:
        means = [
            np.mean([t["rank1"] for t in trials])
            * (protocol.overall == "all_cells" or key[1] != key[2])
            for key, trials in cells.items()
        ]
        assert result.metrics["overall"]["rank1"] == pytest.approx(np.mean(means))
    long = result.table.fillna({"gallery_view": -1})
    got = {
        (r.probe_set, r.gallery_view, r.probe_view, r.metric): (r.value, r.n)
        for r in long.itertuples()
    }
    if protocol.gallery_views == "each" and (protocol.overall or not protocol.exclude_same_view):
        expected_keys = set(cells)
    else:
        expected_keys = {key for key in cells if key[1] != key[2]}
    assert {key[:3] for key in got} == expected_keys
    for key in expected_keys:
        for metric in METRICS:
            value, n = got[(*key, metric)]
            assert n == len(cells[key])
            assert value == pytest.approx(np.mean([t[metric] for t in cells[key]]))


@pytest.mark.parametrize("distance", ["euclidean", "l1"])
def test_error_rates_against_the_whole_curve(distance) -> None:
    embeddings, table = walks(4, subjects=8)
    protocol = replace(BASE, distance=distance)
    cells, _ = loops(embeddings, table, protocol)
    trials = [t for key, c in cells.items() if key[0] == "NM" and key[1] != key[2] for t in c]
    genuine, impostor = (np.concatenate([t[k] for t in trials]) for k in ("genuine", "impostor"))
    thresholds = np.sort(np.concatenate([genuine, impostor]))
    accepted = np.array([(impostor <= t).mean() for t in thresholds])
    refused = np.array([(genuine > t).mean() for t in thresholds])
    best = np.abs(accepted - refused).argmin()
    figures = evaluate(embeddings, table, protocol, bootstrap=0).metrics["NM"]
    step = 1 / len(genuine) + 1 / len(impostor)
    assert figures["eer"] == pytest.approx((accepted[best] + refused[best]) / 2, abs=step)
    for rate in (0.01, 0.001):
        expected = 1 - refused[accepted <= rate].min(initial=1)
        assert figures[f"tar_at_far_{rate}"] == pytest.approx(expected, abs=2 / len(genuine))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), kind=st.integers(0, len(KINDS) - 1))
def test_order_of_rows_does_not_matter(seed, kind) -> None:
    embeddings, table = walks(seed)
    embeddings = embeddings.round()  # with exact ties
    order = np.random.default_rng(seed).permutation(len(table))
    first = evaluate(embeddings, table, KINDS[kind], bootstrap=20)
    second = evaluate(embeddings[order], table.iloc[order], KINDS[kind], bootstrap=20)
    assert first.metrics == second.metrics
    pd.testing.assert_frame_equal(first.table, second.table)


def test_rotation_and_scale_do_not_matter() -> None:
    embeddings, table = walks(0)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    scale = np.random.default_rng(2).uniform(0.5, 2, (len(table), 1))
    first = evaluate(embeddings, table, BASE, bootstrap=0).metrics["NM"]
    second = evaluate((embeddings * scale) @ rotation, table, BASE, bootstrap=0).metrics["NM"]
    for name in METRICS:
        assert first[name] == pytest.approx(second[name])


def test_intervals_hold_the_estimate_and_follow_the_seed() -> None:
    embeddings, table = walks(0, subjects=12)
    first = evaluate(embeddings, table, BASE).metrics
    for figures in first.values():
        for name in (*METRICS, "eer", "tar_at_far_0.01", "rank1_per_subject"):
            low, high = figures[f"{name}_ci95"]
            assert 0 <= low <= figures[name] <= high <= 1
    assert first == evaluate(embeddings, table, BASE).metrics
    assert first != evaluate(embeddings, table, BASE, seed=1).metrics
    plain = evaluate(embeddings, table, BASE, bootstrap=0, verification=False).metrics["NM"]
    assert not [name for name in plain if "ci95" in name or "eer" in name]


def test_last_of_repeated_sequences_wins() -> None:
    embeddings, table = walks(3, keep=1)
    copies = table[(table.condition == "cl")]
    wrong = np.random.default_rng(0).normal(size=(len(copies), 6)).astype(np.float32)
    both = pd.concat([copies, table], ignore_index=True)
    protocol = replace(BASE, repeated="last")
    result = evaluate(np.concatenate([wrong, embeddings]), both, protocol, bootstrap=0)
    assert result.metrics == evaluate(embeddings, table, protocol, bootstrap=0).metrics
    assert f"{len(copies)} sequences repeat" in result.notes[0]
    everything = evaluate(np.concatenate([wrong, embeddings]), both, BASE, bootstrap=0)
    assert everything.metrics["CL"]["n"] == 2 * len(copies)


def test_what_is_missing_is_named() -> None:
    embeddings, table = walks(0, keep=1)
    keep = ~((table.condition == "cl") & (table.view == 60))
    keep &= ~((table.condition == "nm") & (table.subject == "002") & (table.number < 3))
    result = evaluate(embeddings[keep], table[keep], BASE, bootstrap=0)
    text = " ".join(result.notes)
    assert "Probe set CL has no sequence of 1 of 3 views: 60." in text
    assert "The gallery has no sequence of 1 of 5 subjects: 002." in text
    assert "NM: 12 of 60 trials have no partner in the gallery and are left out." in text
    assert result.metrics["NM"]["unmatched"] == 12
    assert not result.table["value"].isna().any()
    assert result.view_table().loc["CL#1-2"].isna().to_dict() == {
        "0": False, "60": True, "75": False, "mean": False,
    }  # fmt: skip


def test_a_probe_set_without_probes_is_left_out() -> None:
    embeddings, table = walks(0, keep=1)
    keep = table.condition == "nm"
    result = evaluate(embeddings[keep], table[keep], BASE, bootstrap=0)
    assert list(result.metrics) == ["NM"]
    assert "Probe set CL has no sequence and is left out." in result.notes


def test_rows_that_are_neither_have_no_influence() -> None:
    embeddings, table = walks(0)
    stranger = table.iloc[:1].assign(condition="bg", subject="999")
    result = evaluate(
        np.concatenate([embeddings, embeddings[:1] * 100]),
        pd.concat([table, stranger]),
        BASE,
        bootstrap=5,
        verification=False,
    )
    expected = evaluate(embeddings, table, BASE, bootstrap=5, verification=False)
    assert result.metrics == expected.metrics


def test_table_without_views() -> None:
    embeddings, table = walks(0, views=(0,))
    protocol = replace(BASE, gallery_views="pooled", exclude_same_view=False)
    result = evaluate(embeddings, table.drop(columns="view"), protocol, bootstrap=0)
    assert result.table["probe_view"].isna().all()
    assert list(result.view_table().columns) == ["mean"]
    expected = evaluate(embeddings, table, protocol, bootstrap=0)
    assert result.metrics == expected.metrics


def test_reranking_runs_by_probe_set_and_is_refused_above_its_size(monkeypatch) -> None:
    embeddings, table = walks(0, subjects=10)
    result = evaluate(embeddings, table, BASE, rerank=True, bootstrap=0)
    assert 0.2 < result.metrics["NM"]["rank1"] <= 1
    assert "eer" not in result.metrics["NM"]
    monkeypatch.setattr("gaitbench.protocols.protocol.MAX_ITEMS", 10)
    with pytest.raises(InputError, match="at most 10 together"):
        evaluate(embeddings, table, BASE, rerank=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, t: (e, t.assign(condition="bg")), "wants gallery .* condition bg, number 1/2"),
        (lambda e, t: (e, t.assign(condition="nm", number=1)), "test.base wants probe sequences"),
        (lambda e, t: (e, t.assign(view=90)), "test.base compares different views, but all"),
        (
            lambda e, t: (e, t.assign(view=t.groupby("subject").ngroup())),
            "none of the .* probes has a partner",
        ),
        (lambda e, t: (e, t.drop(columns="view")), r"needs the column\(s\) view"),
        (lambda e, t: (np.where(np.arange(len(t))[:, None] == 3, np.nan, e), t), "embedding 3 is"),
        (lambda e, t: (e, t.assign(number=t.number.where(t.index != 2))), "row 2 .* no number"),
        (lambda e, t: (e[:0], t[:0]), "none of the 0 sequences"),
    ],
)
def test_mistakes_are_named_in_one_sentence(change, message) -> None:
    embeddings, table = change(*walks(0))
    with pytest.raises(InputError, match=message):
        evaluate(embeddings, table, BASE)


def test_unknown_distance_and_wrong_shape() -> None:
    embeddings, table = walks(0)
    with pytest.raises(InputError, match="expected one of euclidean, l1, cosine"):
        evaluate(embeddings, table, BASE, distance="manhattan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected embeddings"):
        evaluate(embeddings[1:], table, BASE)


def test_impossible_protocols() -> None:
    with pytest.raises(ValueError, match="needs one gallery view each"):
        replace(BASE, gallery_views="pooled", overall="all_cells")
    with pytest.raises(ValueError, match="may be called"):
        replace(BASE, probes={"overall": {}})


def windows(repeats: int = 3) -> tuple[np.ndarray, pd.DataFrame]:
    """Several windows of each walk, which share its labels."""
    embeddings, table = walks(3)
    table = table.assign(recording=np.arange(len(table))).loc[table.index.repeat(repeats)]
    table["first_frame"] = np.tile(np.arange(repeats) * 6, len(embeddings))
    noise = np.random.default_rng(4).normal(size=(len(table), embeddings.shape[1]))
    points = embeddings.repeat(repeats, 0) + 0.3 * noise.astype(np.float32)
    return points, table.reset_index(drop=True)


def test_windows_of_a_recording_are_no_repeats() -> None:
    points, table = windows()
    protocol = replace(BASE, repeated="last")
    whole = evaluate(points, table, protocol, bootstrap=0)
    assert not any("repeat" in note for note in whole.notes)
    assert whole.metrics["CL"]["n"] == (table["condition"] == "cl").sum()
    order = np.random.default_rng(5).permutation(len(table))
    shuffled = evaluate(points[order], table.iloc[order], protocol, bootstrap=0)
    assert shuffled.metrics == whole.metrics
    # without the columns that tell them apart they are
    unknown = evaluate(points, table.drop(columns="first_frame"), protocol, bootstrap=0)
    assert any("the last of each counts" in note for note in unknown.notes)
    # a window that is there twice is one
    twice = pd.concat([table, table.iloc[:1]]), np.concatenate([points, points[:1]])
    notes = evaluate(twice[1], twice[0], protocol, bootstrap=0).notes
    assert notes[0].startswith("1 sequence repeats the subject, condition, number, view, recording")


@pytest.mark.parametrize("views", ["each", "pooled"])
def test_pieces_of_the_probes_give_the_same(views, monkeypatch: pytest.MonkeyPatch) -> None:
    points, table = windows()
    protocol = replace(BASE, gallery_views=views)
    whole = evaluate(points, table, protocol, bootstrap=50)
    monkeypatch.setattr("gaitbench.protocols.protocol.GENUINE_AT_ONCE", 30)
    pieces = evaluate(points, table, protocol, bootstrap=50)
    assert pieces.metrics == whole.metrics
    pd.testing.assert_frame_equal(pieces.table, whole.table)


def test_unmet_says_what_a_table_lacks() -> None:
    table = windows()[1]
    assert unmet(table, BASE) == ""
    assert "column(s) view" in unmet(table.drop(columns="view"), BASE)
    only = table[table["number"] > 2]
    assert "wants gallery sequences with condition nm and number 1/2" in unmet(only, BASE)
    assert f"none of the {len(only)} sequences is one" in unmet(only, BASE)
