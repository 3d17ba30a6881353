"""Protocols in YAML."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gaitbench.errors import InputError
from gaitbench.protocols import Protocol, read_protocol, written_protocol
from gaitbench.readers.keypoints import Label, label_of

LEAST = {"id": "own.x", "gallery": {"number": 1}, "probes": {"a": {"split": ["p", "q"]}}}


def test_it_becomes_a_protocol(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump({**LEAST, "views": "each_other", "distance": "l1"}))
    assert read_protocol(path) == Protocol(
        id="own.x",
        description="Gallery: number 1. Probes: a: split p/q.",
        gallery={"number": (1,)},
        probes={"a": {"split": ("p", "q")}},
        gallery_views="each",
        exclude_same_view=True,
        unmatched="skip",
        distance="l1",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"galery": {}}, "data.protocol.galery is no field of a protocol; did you mean gallery?"),
        ({"id": "casia_b.x"}, "data.protocol.id is 'casia_b.x', expected `own.` and a name"),
        ({"gallery": {"subject": 1}}, "data.protocol.gallery.subject is 1, expected text, in"),
        ({"gallery": {"number": "1"}}, "gallery.number is '1', expected a whole number"),
        ({"gallery": {"number": []}}, "gallery.number is 'nothing', expected a whole number"),
        ({"gallery": {"veiw": 0}}, "gallery.veiw is no column of the labels; did you mean view?"),
        ({"gallery": 3}, "data.protocol.gallery is 3, expected columns with a value"),
        ({"probes": {"overall": {"number": 1}}}, "probes.overall is taken for a mean"),
        ({"probes": {"a b": {"number": 1}}}, "probes.a b is no name of letters"),
        ({"probes": []}, "data.protocol.probes is \\[\\], expected names"),
        ({"views": "all"}, "views is 'all', expected one of pooled, others, each, each_other"),
        ({"normalize": 1}, "normalize is 1, expected one of true, false"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        written_protocol({**LEAST, **change})


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("id: [")
    for name, message in (("a.yaml", "a.yaml line 1 column"), ("b.yaml", "No such file")):
        with pytest.raises(InputError, match=message):
            read_protocol(tmp_path / name)
    with pytest.raises(InputError, match=r"data\.protocol\.probes is missing"):
        written_protocol({"id": "own.x", "gallery": {"number": 1}})


def test_trees_tell_labels() -> None:
    """As OpenGait and FastPoseGait have CASIA-B, OUMVLP and Gait3D."""
    for name, label in (
        ("x/001/nm-01/090/090", Label("001", "nm", 1, 90)),
        ("00001/01/270/270", Label("00001", "walk", 1, 270)),
        ("0000/camid0_videoid2/seq0/seq0", Label("0000", "camid0_videoid2", 0, 0)),
        ("001/nm-01/090/091", Label("001/nm-01/090/091")),
    ):
        assert label_of(name, {}) == label
