from collections import Counter

import pytest

from gaitbench import datamodules, methods
from gaitbench.datamodules import DATASETS
from gaitbench.protocols import ClosedSetProtocol
from gaitbench.published.figures import comparable, published_figures

CASIA_B = {"split": "74/50", "min_frames": 0}
FIELD = ("GaitGraph2", "CasiaB", CASIA_B, "casia_b.cross_view", "NM", "rank1")


def test_each_names_what_there_is() -> None:
    kinds = (*DATASETS, datamodules.Encodings)
    known = {name: protocol for data in kinds for name, protocol in data.protocols.items()}
    for entry in published_figures():
        assert entry.method in methods.__all__
        assert entry.source and entry.remark
        data = getattr(datamodules, entry.data)
        for protocol in entry.protocols:
            assert entry.probes.keys() == entry.values.keys() != set()
            assert all(0 < value <= 100 for value in entry.values.values())
            if isinstance(known[protocol], ClosedSetProtocol):
                continue  # its sets are the conditions of the data
            assert protocol in data.protocols
            assert set(entry.values) <= set(known[protocol].probes)


def test_settings_are_those_of_the_datasets() -> None:
    """A misspelt one would never fit."""
    import inspect

    for entry in published_figures():
        names: set[str] = set()
        for kind in getattr(datamodules, entry.data).__mro__:
            names |= set(inspect.signature(kind).parameters)
        assert {"split", *entry.settings} <= names


def test_none_is_there_twice() -> None:
    keys = Counter(
        (e.method, e.data, e.split, e.protocols, e.figure, str(e.settings), e.source)
        for e in published_figures()
    )
    assert max(keys.values()) == 1


def test_preferred_figure_is_the_papers() -> None:
    found = comparable(*FIELD, 1100)
    assert [entry.values["NM"] for entry in found] == [82.0, 80.29, 83.6]
    assert "Teepe et al. 2022" in found[0].source


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "GaitSet"),
        (1, "CasiaBTracks"),  # other poses
        (2, CASIA_B | {"split": "62/62"}),
        (2, CASIA_B | {"min_frames": 61}),
        (2, {}),  # settings that nobody knows
        (3, "casia_b.pooled"),
        (3, "casia_b.cross_view, cosine"),  # as the protocol changed is called
        (4, "overall"),  # which holds identical views
        (5, "map"),
        (6, 638),  # other people
        (6, 1101),
    ],
)
def test_what_differs_is_not_comparable(place: int, value: object) -> None:
    words = [*FIELD, 1100]
    words[place] = value
    assert comparable(*words) == []  # type: ignore[arg-type]


def test_traps_of_the_field() -> None:
    """Figures of one method that are published under several protocols."""
    pose = {"split": "id_list", "keypoints": "alphapose", "person": "first", "skeleton": None}
    for protocol, skeleton, expected in (
        ("oumvlp.gaitgraph2", None, [67.1]),
        ("oumvlp.gaitgraph2", "coco17", []),
        ("oumvlp.opengait", None, [62.1, 64.53]),
        ("oumvlp.opengait", "coco17", [70.75]),
        ("oumvlp.cross_view", None, []),
    ):
        settings = pose | {"skeleton": skeleton}
        found = comparable("GaitGraph2", "OumvlpPose", settings, protocol, "NM", "rank1", 67000)
        assert [entry.values["NM"] for entry in found] == expected
    tracks = {"split": "62/62"}
    for protocol, expected in (("casia_b.pooled", [92.52]), ("casia_b.cross_view", [])):
        found = comparable("GaitFormer", "CasiaBTracks", tracks, protocol, "NM", "rank1", 1364)
        assert [entry.values["NM"] for entry in found] == expected
