"""Protocols: who is compared with whom, and what is computed of it."""

from gaitbench.protocols.protocol import Protocol, evaluate
from gaitbench.protocols.results import Evaluation, write_metrics

__all__ = ["Evaluation", "Protocol", "evaluate", "write_metrics"]
