"""The methods: one published method a file. The class names are what a YAML writes."""

from gaitbench.methods.age_recognition import AgeRecognition
from gaitbench.methods.base import GaitMethod
from gaitbench.methods.exported import ExportedNetwork
from gaitbench.methods.gaitcopy import GaitCopyStudent, GaitCopyTeacher
from gaitbench.methods.gaitformer import GaitFormer
from gaitbench.methods.gaitgraph import GaitGraph
from gaitbench.methods.gaitgraph2 import GaitGraph2
from gaitbench.methods.gaitset import GaitSet
from gaitbench.methods.sgela import SGELA

__all__ = [
    "SGELA",
    "AgeRecognition",
    "ExportedNetwork",
    "GaitCopyStudent",
    "GaitCopyTeacher",
    "GaitFormer",
    "GaitGraph",
    "GaitGraph2",
    "GaitMethod",
    "GaitSet",
]
