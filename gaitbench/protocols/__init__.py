"""Protocols: who is compared with whom, and what is computed of it."""

from gaitbench.protocols.protocol import Protocol, Selection, evaluate
from gaitbench.protocols.results import Evaluation, write_metrics
from gaitbench.protocols.retrieval import Distance

__all__ = ["Distance", "Evaluation", "Protocol", "Selection", "evaluate", "write_metrics"]
