"""The gallery's file, and its index against looking at all entries."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gaitbench import gallery as module
from gaitbench.errors import InputError
from gaitbench.gallery import Gallery, read_gallery, write_gallery
from gaitbench.protocols import Distance
from gaitbench.protocols.open_set import Threshold


def crowd(people: int, each: int, distance: Distance = "euclidean") -> Gallery:
    """People who stand apart, several walks each."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(people, 12)).repeat(each, axis=0)
    entries = pd.DataFrame(
        {
            "subject": [f"{i // each:03d}" for i in range(people * each)],
            "condition": "nm",
            "number": np.arange(people * each) % each,
            "view": 90,
        }
    )
    values = centres + 0.1 * draw.normal(size=centres.shape)
    return Gallery(values.astype(np.float32), entries, distance)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    known = replace(crowd(4, 3), threshold=Threshold(0.5, 0.01, 1, 100, ("x", "y")))
    write_gallery(known, tmp_path / "known.npz")
    found = read_gallery(tmp_path / "known.npz")
    np.testing.assert_array_equal(found.embeddings, known.embeddings)
    assert found.entries.astype(str).equals(known.entries.astype(str))
    assert (found.threshold, found.distance, found.cells) == (known.threshold, "euclidean", None)
    assert [path.name for path in tmp_path.iterdir()] == ["known.npz"]


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "l1"])
def test_distances_are_what_they_are_called(distance: Distance) -> None:
    known, probe = crowd(4, 2, distance), np.ones((1, 12), np.float32)
    places, distances = known.search(probe, 8)
    for place, value in zip(places[0], distances[0], strict=True):
        a, b = known.embeddings[place].astype(float), probe[0].astype(float)
        expected = {
            "euclidean": np.linalg.norm(a - b),
            "cosine": 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b),
            "l1": abs(a - b).sum(),
        }
        assert value == pytest.approx(expected[distance], rel=1e-6)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_an_index_finds_nearly_what_all_entries_tell(
    distance: Distance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY", 1000)
    known = crowd(300, 5, distance)
    assert crowd(100, 5).with_index().cells is None
    indexed = known.with_index()
    assert indexed.cells is not None
    write_gallery(indexed, tmp_path / "known.npz")
    indexed = read_gallery(tmp_path / "known.npz")
    probes = known.embeddings[::7] + np.float32(0.02)
    exact, found = known.search(probes, 3), indexed.search(probes, 3)
    same = (exact[0] == found[0]).all(1)
    assert same.mean() > 0.95
    np.testing.assert_array_equal(exact[1][same], found[1][same])
    share, tried = indexed.index_recall(probes, 3)
    assert tried == len(probes)
    assert share == np.mean([len({*a} & {*b}) / 3 for a, b in zip(exact[0], found[0], strict=True)])
    np.testing.assert_array_equal(indexed.search(probes, 3, exact=True)[0], exact[0])


def test_damage_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "known.npz"
    with pytest.raises(InputError, match="does not exist"):
        read_gallery(path)
    write_gallery(crowd(3, 2), path)
    whole = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(str(arrays["header"]))
    faults: list[bytes | dict[str, object]] = [
        b"",
        b"text",
        whole[: len(whole) // 2],
        whole.replace(arrays["embeddings"].tobytes(), bytes(arrays["embeddings"].nbytes)),
        {"header": np.array("[]")},
        {"header": np.array("{")},
        {"header": np.array(json.dumps(header | {"format_version": 2}))},
        {"header": np.array(json.dumps(header | {"threshold": {"value": 1}}))},
        {"header": np.array(json.dumps(header | {"visited": 3}))},
        {"embeddings": arrays["embeddings"][1:]},
        {"embeddings": arrays["embeddings"] * np.float32(np.nan)},
        {"subject": arrays["subject"][1:]},
        {"number": arrays["subject"]},
        {"subject": np.array([object()] * 6, dtype=object)},
    ]
    for fault in faults:
        if isinstance(fault, bytes):
            path.write_bytes(fault)
        else:
            np.savez(path, **(arrays | fault))
        with pytest.raises(InputError, match=r"known\.npz is no gallery, or a damaged one \(.+\)"):
            read_gallery(path)


def test_probes_of_another_network_are_refused() -> None:
    with pytest.raises(InputError, match="have 12 values, the probes' 5"):
        crowd(2, 2).search(np.zeros((1, 5), np.float32), 1)


@pytest.mark.parametrize("said", [{"value": "x"}, {"value": float("nan")}, {"people": 3}])
def test_a_threshold_that_is_none(said: dict[str, object], tmp_path: Path) -> None:
    write_gallery(
        replace(crowd(2, 2), threshold=Threshold(0.5, 0.01, 1, 100, ("x",))), tmp_path / "a.npz"
    )
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    header = json.loads(str(arrays["header"]))
    header["threshold"] |= said
    np.savez(tmp_path / "b.npz", **arrays | {"header": np.array(json.dumps(header))})
    with pytest.raises(InputError, match="is no gallery, or a damaged one"):
        read_gallery(tmp_path / "b.npz")


def test_a_header_without_end(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", header=np.array("[" * 100_000))
    with pytest.raises(InputError, match="is no gallery, or a damaged one"):
        read_gallery(tmp_path / "a.npz")
