"""Protocols: who is compared with whom, and what is computed of it."""

from gaitbench.protocols.distances import Distance
from gaitbench.protocols.protocol import Protocol, Selection, evaluate
from gaitbench.protocols.results import Evaluation, write_metrics

__all__ = ["Distance", "Evaluation", "Protocol", "Selection", "evaluate", "write_metrics"]
