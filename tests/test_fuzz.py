"""Files spoilt at random are read or refused; ``benchmarks/fuzz.py`` does it for longer."""

from pathlib import Path

import pytest

from benchmarks.fuzz import fuzz, targets

INPUTS = {"published": 30, "config": 2}
"""Of those that are expensive."""


@pytest.mark.parametrize("name", targets(Path()))
def test_spoilt_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    inputs = INPUTS.get(name, 200)
    count, _, findings = fuzz(targets(tmp_path)[name], name, inputs, 120, seed=0)
    assert findings == []
    assert count == inputs


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    """So that the tests above fail for what they look for."""
    import os

    from benchmarks.fuzz import Target

    def read(folder: Path) -> None:
        content = (folder / "a").read_bytes()
        if len(content) > 4:
            raise KeyError("longer")
        if content != b"abcd":
            os.system("true")

    _, _, findings = fuzz(lambda: Target([{"a": b"abcd"}], read), "x", 100, 60, seed=0)
    assert {what.split(" ")[0] for _, what in findings} == {"KeyError:", "os.system"}
