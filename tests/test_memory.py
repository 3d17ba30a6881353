"""Page keeping is a request to glibc and nothing elsewhere."""

import platform
import subprocess
import sys

import pytest

from gaitbench.memory import keep_pages


def test_silently_false_without_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_pages() is False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_freed_pages_are_used_again() -> None:
    """In a process of its own: rounds of large tensors come to fault in no new pages."""
    code = """
import resource, torch
from gaitbench.memory import keep_pages
assert keep_pages()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = []
for _ in range(8):
    before = faults()
    for _ in range(3):
        torch.ones(4_000_000)
    counts.append(faults() - before)
print(min(counts))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) < 100  # a fresh tensor takes 4000 of them
