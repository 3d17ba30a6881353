"""Protocols: who is compared with whom, and what is computed of it."""

from gaitbench.protocols.attributes import AttributeProtocol, evaluate_attributes
from gaitbench.protocols.closed_set import (
    ClosedSetEvaluation,
    ClosedSetProtocol,
    evaluate_closed_set,
)
from gaitbench.protocols.distances import Distance
from gaitbench.protocols.knn import (
    NeighbourEvaluation,
    NeighbourProtocol,
    evaluate_neighbours,
    unmet_neighbours,
)
from gaitbench.protocols.protocol import Protocol, Selection, evaluate, unmet
from gaitbench.protocols.results import AttributeEvaluation, Evaluation, write_metrics
from gaitbench.protocols.written import read_protocol, written_protocol

__all__ = [
    "AttributeEvaluation",
    "AttributeProtocol",
    "ClosedSetEvaluation",
    "ClosedSetProtocol",
    "Distance",
    "Evaluation",
    "NeighbourEvaluation",
    "NeighbourProtocol",
    "Protocol",
    "Selection",
    "evaluate",
    "evaluate_attributes",
    "evaluate_closed_set",
    "evaluate_neighbours",
    "read_protocol",
    "unmet",
    "unmet_neighbours",
    "write_metrics",
    "written_protocol",
]
