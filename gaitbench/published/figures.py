"""Figures that others published, and when one of ours may stand beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_suffix(".yaml")

ENOUGH = 0.85
"""Share of a dataset's probes at least: recordings are missing from every copy of a dataset."""


@dataclass(frozen=True)
class PublishedFigure:
    """One figure of one method on all probe sets of a dataset; ``figures.yaml`` explains each.

    Attributes:
        method: class of the method here.
        data: class of the dataset here.
        split: of the dataset.
        settings: further settings of the dataset, each one value or a list of those that will do.
        protocols: ids of ours under which it may be compared; none if there is no such.
        figure: its name in ``metrics.json``.
        probes: probe set to the number of probes that the published data have at most.
        values: probe set to percent, as printed.
        source: who, where and in which table.
        remark: what is known of how it came about, or why it is not comparable.
    """

    method: str
    data: str
    split: str | None
    protocols: tuple[str, ...]
    figure: str
    probes: Mapping[str, int]
    values: Mapping[str, float]
    source: str
    remark: str
    settings: Mapping[str, Any]

    def fits(self, protocol: str, probes: str, count: int, settings: Mapping[str, Any]) -> bool:
        """Whether a figure of ours is of the same protocol, split, settings and size of data.

        Args:
            protocol: id.
            probes: probe set.
            count: of its probes that count.
            settings: of the dataset.
        """
        if protocol not in self.protocols or probes not in self.values:
            return False
        wanted = {"split": self.split, **self.settings}
        for name, allowed in wanted.items():
            if settings.get(name) not in (allowed if isinstance(allowed, list) else [allowed]):
                return False
        most = self.probes[probes]
        return ENOUGH * most <= count <= most


@cache
def published_figures() -> tuple[PublishedFigure, ...]:
    """All of them, in the order in which one is preferred to another."""
    entries = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return tuple(
        PublishedFigure(**{"settings": {}, **entry, "protocols": tuple(entry["protocols"])})
        for entry in entries
    )


def comparable(
    method: str | None,
    data: str | None,
    settings: Mapping[str, Any],
    protocol: str,
    probes: str,
    figure: str,
    count: int,
) -> list[PublishedFigure]:
    """Figures of the same method that may stand beside one of ours, the preferred one first."""
    return [
        entry
        for entry in published_figures()
        if (entry.method, entry.data, entry.figure) == (method, data, figure)
        and entry.fits(protocol, probes, count, settings)
    ]
