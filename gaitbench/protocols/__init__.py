"""Protocols: who is compared with whom, and what is computed of it."""

from gaitbench.protocols.attributes import AttributeProtocol, evaluate_attributes
from gaitbench.protocols.distances import Distance
from gaitbench.protocols.protocol import Protocol, Selection, evaluate
from gaitbench.protocols.results import AttributeEvaluation, Evaluation, write_metrics

__all__ = [
    "AttributeEvaluation",
    "AttributeProtocol",
    "Distance",
    "Evaluation",
    "Protocol",
    "Selection",
    "evaluate",
    "evaluate_attributes",
    "write_metrics",
]
