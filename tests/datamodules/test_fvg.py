import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gaitbench import tools
from gaitbench.callbacks import write_predictions
from gaitbench.datamodules.fvg import EXPECTED, FVG, PROTOCOLS
from gaitbench.errors import InputError
from gaitbench.fvg import SUBJECTS
from gaitbench.protocols import evaluate
from tests.goldens import GAITFORMER, golden, unpacked_folder

GOLDEN = golden("fvg", GAITFORMER) | {
    name.removeprefix("fvg/"): value for name, value in golden("evaluators", GAITFORMER).items()
}
NAMES = {"fvg.ws": "WS", "fvg.cb": "CB", "fvg.cl": "CL", "fvg.cbg": "CBG", "fvg.all": "ALL"}
PEOPLE = (1, 2, 12, 100, 136, 137, 150, 226)
HEAD = ("file_name", "track_id", "session_id", "run_id")

Line = tuple[str, int, int, int]


def write_table(folder: Path, lines: list[Line]) -> Path:
    """The published table in the place where it is published; the folder above all."""
    table = folder / "FVG-andy" / "data" / "annotations.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *lines])
    return folder


def write_tree(folder: Path, subjects: tuple[int, ...] = PEOPLE) -> Path:
    """Random poses; subjects up to 12 come to session 3 too. Lines are in no order."""
    random = np.random.default_rng(0)
    lines: list[Line] = []
    for subject in subjects:
        for session in (1, 2, 3)[: 3 if subject <= 12 else 2]:
            for run in range(1, 13):
                name = f"FVG-andy/data/poses/{subject:03d}_{session}_{run:02d}.npy"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                poses = random.standard_normal((int(random.integers(3, 60)), 18, 3))
                np.save(folder / name, poses.astype(np.float32))
                lines.append((name, subject, session, run))
    random.shuffle(lines)
    return write_table(folder, [(n, int(a), int(b), int(c)) for n, a, b, c in lines])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("fvg"))


def ready(path: Path, cache: Path, **settings: object) -> FVG:
    data = FVG(str(path), cache=str(cache), **settings)
    data.prepare_data()
    data.setup("test")
    return data


def table_of(subject: np.ndarray, session: np.ndarray, run: np.ndarray) -> pd.DataFrame:
    columns = zip(subject.tolist(), session.tolist(), run.tolist(), strict=True)
    names = ("subject", "condition", "number", "view", "recording")
    rows = [(f"{s:03d}", f"session{n}", r, 0, f"{n}-{r:02d}") for s, n, r in columns]
    return pd.DataFrame(rows, columns=names)


def golden_case(tmp_path: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """Embeddings and table of the reference's test subjects, whom its split chooses."""
    keys = [GOLDEN[name] for name in ("subject", "session", "run")]
    rows = zip(*(key.tolist() for key in keys), strict=True)
    path = write_table(tmp_path, [(f"{i}.npy", *row) for i, row in enumerate(rows)])
    table = table_of(*keys)
    tested = table["subject"].isin(FVG(str(path), split="136/89").split.test).to_numpy()
    return GOLDEN["embeddings"][tested], table[tested]


def test_figures_are_the_references(tmp_path: Path) -> None:
    case = golden_case(tmp_path)
    found = {}
    for name, protocol in PROTOCOLS.items():
        metrics = evaluate(*case, protocol, bootstrap=0).metrics
        assert list(metrics) == [NAMES[name]]
        found[name] = metrics[NAMES[name]]["rank1"]
        assert found[name] == pytest.approx(float(GOLDEN[NAMES[name]]), abs=1e-9)
    mean = float(GOLDEN["trainer_metric"])
    assert np.mean(list(found.values())) == pytest.approx(mean, abs=1e-9)


def by_loops(embeddings: np.ndarray, table: pd.DataFrame, name: str) -> float:
    """Accuracy by the reference's list of codes, which count sessions and runs from 0."""
    gallery_codes = {
        "WS": {(0, 1), (1, 1)}, "CB": {(0, 1)}, "CL": {(1, 1)}, "CBG": {(1, 1)},
        "ALL": {(0, 1), (1, 1)},
    }[name]  # fmt: skip
    speeds = {(0, r) for r in range(3, 9)} | {(1, r) for r in range(3, 6)}
    probe_codes = {
        "WS": speeds, "CB": {(0, r) for r in range(9, 12)}, "CL": {(1, r) for r in range(6, 9)},
        "CBG": {(1, r) for r in range(9, 12)}, "ALL": speeds | {(2, r) for r in range(12)},
    }[name]  # fmt: skip
    sessions = table["condition"].str[-1].astype(int)
    codes = list(zip(sessions - 1, table["number"] - 1, strict=True))
    unit = embeddings.astype(float) / np.linalg.norm(embeddings, axis=1, keepdims=True)
    rows = list(zip(codes, table["subject"], unit, strict=True))
    gallery = [(subject, x) for code, subject, x in rows if code in gallery_codes]
    hits = []
    for code, subject, x in rows:
        if code in probe_codes:
            nearest = min(gallery, key=lambda item, x=x: np.abs(item[1] - x).sum())
            hits.append(nearest[0] == subject)
    return float(np.mean(hits))


@pytest.mark.parametrize("name", NAMES)
def test_protocols_follow_the_loops(name: str) -> None:
    """Also where recordings are missing: a probe without a partner is wrong."""
    random = np.random.default_rng(3)
    keys = [(s, n, r) for s in range(137, 150) for n in (1, 2, 3) for r in range(1, 13)]
    table = table_of(*np.array([key for key in keys if random.random() < 0.8]).T)
    people = {subject: random.standard_normal(6) for subject in table["subject"]}
    embeddings = np.stack([people[s] + random.standard_normal(6) for s in table["subject"]])
    embeddings = embeddings.astype(np.float32)
    result = evaluate(embeddings, table, PROTOCOLS[name], bootstrap=0)
    found = result.metrics[NAMES[name]]
    assert found["rank1"] == pytest.approx(by_loops(embeddings, table, NAMES[name]), abs=1e-9)
    assert found["unmatched"] > 0 or name in ("fvg.ws", "fvg.all")
    shuffled = random.permutation(len(table))
    again = evaluate(embeddings[shuffled], table.iloc[shuffled], PROTOCOLS[name], bootstrap=0)
    assert again.metrics[NAMES[name]]["rank1"] == found["rank1"]


def test_all_equals_ws_with_the_published_numbering() -> None:
    """As nobody of session 3 is tested."""
    random = np.random.default_rng(1)
    keys = [(s, 1 if s <= 147 else 2, r) for s in range(137, 227) for r in range(1, 13)]
    table = table_of(*np.array(keys).T)
    embeddings = random.standard_normal((len(table), 4)).astype(np.float32)
    ws, everything = (
        evaluate(embeddings, table, PROTOCOLS[f"fvg.{name}"]).metrics[name.upper()]
        for name in ("ws", "all")
    )
    assert ws == everything


def test_facts_that_the_rest_relies_on(tmp_path: Path) -> None:
    assert all(name == protocol.id for name, protocol in PROTOCOLS.items())
    assert set(PROTOCOLS) == set(NAMES)
    data = FVG(str(tmp_path / "absent"))  # nothing is read yet
    assert (data.dataset, data.skeleton, data.frames) == ("fvg", "openpose18", 48)
    assert set(data.default_protocols) <= set(data.protocols)
    assert (len(SUBJECTS), sum(EXPECTED.values())) == (226, 2856)  # as the paper counts them
    assert data.num_subjects == 136
    assert data.split.train == SUBJECTS[:136]
    assert data.split.test == SUBJECTS[136:]
    assert SUBJECTS[135:137] == ("136", "137")


def test_the_references_split_goes_by_place(tmp_path: Path) -> None:
    """Numbers are sorted as numbers, and the last of 226 is left out."""
    random = np.random.default_rng(2)
    missing = {3, 50}
    numbers = [n for n in range(240) if n not in missing]
    lines: list[Line] = [(f"{n}.npy", n, 1, 1) for n in random.permutation(numbers).tolist()]
    split = FVG(str(write_table(tmp_path, lines)), split="136/89").split
    assert split.train == tuple(f"{n:03d}" for n in numbers[:136])
    assert split.test == tuple(f"{n:03d}" for n in numbers[136:225])
    assert (len(split.train), len(split.test)) == (136, 89)


def test_unknown_choices_are_named(tmp_path: Path) -> None:
    for share in (0, -0.1, 1.1):
        with pytest.raises(InputError, match="share above 0"):
            FVG(str(tmp_path), fraction=share)
    with pytest.raises(InputError, match="136/90"):
        FVG(str(tmp_path), split="60/40").split  # noqa: B018
    with pytest.raises(InputError, match="FVG-andy"):
        ready(tmp_path, tmp_path / "cache")


def test_whole_dataset(tree: Path, tmp_path: Path) -> None:
    """Rows in the table's order, as in the files; y is not flipped."""
    data = ready(tree, tmp_path)
    lines = pd.read_csv(tree / "FVG-andy" / "data" / "annotations.csv")
    store, table = data.open_store(), data.sequences
    expected = table_of(*(lines[name].to_numpy() for name in HEAD[1:]))
    assert table[list(expected)].astype(str).equals(expected.astype(str))
    assert store.info.units == "normalised, y up, confidence"
    for row in (0, 7, len(table) - 1):
        poses = np.load(tree / lines["file_name"][row], allow_pickle=False)
        begin, length = table["start"][row], table["length"][row]
        assert np.array_equal(store.frames[begin : begin + length], poses)
    train, test = (set(table["subject"].iloc[data.rows[part]]) for part in ("train", "test"))
    assert (train, test) == ({"001", "002", "012", "100", "136"}, {"137", "150", "226"})

    batch = next(iter(data.test_dataloader()))
    assert batch.frames.shape == (72, 48, 18, 3)
    assert torch.equal(data.on_after_batch_transfer(batch, 0).frames, batch.frames)
    for i, row in enumerate(batch.row.tolist()):
        poses = np.load(tree / lines["file_name"][row], allow_pickle=False)
        if len(poses) >= 48:
            begin = (len(poses) - 48) // 2
            assert np.array_equal(batch.frames[i], poses[begin : begin + 48])


def test_the_reference_s_folder(tmp_path: Path) -> None:
    """Of its sequences five are kept here; the table is whole."""
    root = unpacked_folder("import")
    expected = golden("expected", root)
    data = ready(root / "fvg", tmp_path, split="136/89", on_error="skip", crop="tiled")
    assert (len(data.split.train), len(data.split.test)) == (136, 8)
    table = data.sequences.iloc[data.rows["test"]]
    names = json.loads(str(expected["fvg_test/file_name"]))
    published = pd.read_csv(data.source.annotations)["file_name"]
    found = [names.index(name) for name in published.iloc[table["line"] - 2]]
    assert found == [0, 1, 2, 3, 4]
    assert (table["number"] - 1).tolist() == expected["fvg_test/run_code"][found].tolist()
    sessions = table["condition"].str.removeprefix("session").astype(int)
    assert (sessions - 1).tolist() == expected["fvg_test/session_code"][found].tolist()
    for row, name in zip(table.index, published.iloc[table["line"] - 2], strict=True):
        poses = np.load(root / "fvg" / name, allow_pickle=False)
        start, length = data.sequences.loc[row, ["start", "length"]]
        assert np.array_equal(data.open_store().frames[start : start + length], poses)


def test_report_tells_what_is_missing(tree: Path, tmp_path: Path) -> None:
    text = FVG(str(tree), cache=str(tmp_path)).report().to_text()
    assert "| session1 | 96 of 1764 | 96 of 1764 |" in text
    assert "Subjects of the list without a sequence: 218" in text


@pytest.mark.parametrize("place", [".", "FVG-andy/data", "FVG-andy/data/annotations.csv"])
def test_path_may_be_any_of_three(tree: Path, tmp_path: Path, place: str) -> None:
    assert len(ready(tree / place, tmp_path).sequences) == (3 * 3 + 5 * 2) * 12


def test_names_may_count_from_the_tables_folder(tmp_path: Path) -> None:
    write_tree(tmp_path, (1, 140))
    table = tmp_path / "FVG-andy" / "data" / "annotations.csv"
    table.write_text(table.read_text().replace("FVG-andy/data/", ""))
    moved = (tmp_path / "FVG-andy" / "data").rename(tmp_path / "elsewhere")
    for path in (moved, moved / "annotations.csv"):
        assert len(ready(path, tmp_path / "cache").sequences) == 60


@pytest.mark.parametrize(("column", "value"), [(2, 4), (2, 0), (3, 13), (3, 0)])
def test_numbers_that_the_dataset_has_not(tmp_path: Path, column: int, value: int) -> None:
    write_tree(tmp_path, (1,))
    table = tmp_path / "FVG-andy" / "data" / "annotations.csv"
    lines = table.read_text().splitlines()
    fields = lines[4].split(",")
    fields[column] = str(value)
    table.write_text("\n".join([*lines[:4], ",".join(fields), *lines[5:]]) + "\n")
    with pytest.raises(InputError, match=rf"line 5: {HEAD[column]} is {value}"):
        ready(tmp_path, tmp_path / "cache")


def test_a_missing_file_stops_or_is_skipped(tmp_path: Path) -> None:
    write_tree(tmp_path, (1, 140))
    (tmp_path / "FVG-andy/data/poses/140_2_07.npy").unlink()
    with pytest.raises(InputError, match="140_2_07"):
        ready(tmp_path, tmp_path / "cache")
    data = ready(tmp_path, tmp_path / "cache", on_error="skip")
    assert len(data.sequences) == 59
    absent = (data.sequences["subject"] == "140") & (data.sequences["recording"] == "2-07")
    assert not absent.any()


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.3, 0.5, 0.7, 1.0])
def test_fraction_is_exact_for_each_training_subject(
    tree: Path, tmp_path: Path, fraction: float
) -> None:
    whole, data = (ready(tree, tmp_path, fraction=share) for share in (1.0, fraction))
    subject = data.sequences["subject"]
    found = Counter(subject.iloc[data.rows["train"]])
    every = Counter(subject.iloc[whole.rows["train"]])
    assert found == {name: max(1, round(fraction * count)) for name, count in every.items()}
    assert set(data.rows["train"]) <= set(whole.rows["train"])
    assert (np.diff(data.rows["train"]) > 0).all()
    assert np.array_equal(data.rows["test"], whole.rows["test"])


def test_fraction_is_drawn_by_its_seed(tree: Path, tmp_path: Path) -> None:
    def rows(fraction: float, seed: int) -> list[int]:
        data = ready(tree, tmp_path, fraction=fraction, subset_seed=seed)
        return data.rows["train"].tolist()

    assert rows(0.5, 1) == rows(0.5, 1) != rows(0.5, 2)
    assert set(rows(0.2, 1)) < set(rows(0.5, 1))  # a larger share holds the smaller


def test_the_command_line_knows_the_protocols(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ready(tree, tmp_path / "cache")
    table = data.sequences.iloc[data.rows["test"]].reset_index(drop=True)
    random = np.random.default_rng(4)
    embeddings = random.standard_normal((len(table), 8)).astype(np.float32)
    write_predictions(tmp_path / "predictions", embeddings, table)
    words = [f"--protocol={name}" for name in PROTOCOLS]
    tools.run("evaluate", [str(tmp_path), *words, "--bootstrap=0"])
    printed = capsys.readouterr().out
    assert all(f"### {name}" in printed for name in PROTOCOLS)
