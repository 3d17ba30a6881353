"""The datasets: one a file. The class names are what a YAML writes."""

from gaitbench.datamodules.base import GaitDataModule
from gaitbench.datamodules.casia_b import CasiaB
from gaitbench.datamodules.casia_b_tracks import CasiaBTracks
from gaitbench.datamodules.densegait import DenseGait
from gaitbench.datamodules.fvg import FVG
from gaitbench.datamodules.grew import Grew
from gaitbench.datamodules.ouisir import OuIsir
from gaitbench.datamodules.oumvlp import OumvlpPose
from gaitbench.datamodules.own import OwnSequences
from gaitbench.datamodules.uwg import Uwg

DATASETS: tuple[type[GaitDataModule], ...] = (
    CasiaB,
    CasiaBTracks,
    DenseGait,
    FVG,
    Grew,
    OuIsir,
    OumvlpPose,
    OwnSequences,
    Uwg,
)
"""All of them, for tools that look something up by name."""

__all__ = [
    "DATASETS",
    "FVG",
    "CasiaB",
    "CasiaBTracks",
    "DenseGait",
    "GaitDataModule",
    "Grew",
    "OuIsir",
    "OumvlpPose",
    "OwnSequences",
    "Uwg",
]
