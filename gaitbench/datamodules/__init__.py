"""The datasets: one a file. The class names are what a YAML writes."""

from gaitbench.datamodules.base import GaitDataModule
from gaitbench.datamodules.biwi import Biwi
from gaitbench.datamodules.casia_b import CasiaB
from gaitbench.datamodules.casia_b_tracks import CasiaBTracks
from gaitbench.datamodules.casia_b_video import CasiaBVideo
from gaitbench.datamodules.densegait import DenseGait
from gaitbench.datamodules.encodings import Encodings
from gaitbench.datamodules.fvg import FVG
from gaitbench.datamodules.gaitcopy_samples import GaitCopySamples
from gaitbench.datamodules.grew import Grew
from gaitbench.datamodules.ias_lab import IasLab
from gaitbench.datamodules.images import ImageDataModule
from gaitbench.datamodules.kgbd import Kgbd
from gaitbench.datamodules.ks20 import Ks20
from gaitbench.datamodules.ouisir import OuIsir
from gaitbench.datamodules.oumvlp import OumvlpPose
from gaitbench.datamodules.own import OwnSequences
from gaitbench.datamodules.own_skeletons import OwnSkeletons
from gaitbench.datamodules.silhouettes import Silhouettes
from gaitbench.datamodules.tum_gaid import TumGaid
from gaitbench.datamodules.uwg import Uwg

DATASETS: tuple[type[GaitDataModule], ...] = (
    Biwi,
    CasiaB,
    CasiaBTracks,
    CasiaBVideo,
    DenseGait,
    FVG,
    GaitCopySamples,
    Grew,
    IasLab,
    Kgbd,
    Ks20,
    OuIsir,
    OumvlpPose,
    OwnSequences,
    OwnSkeletons,
    Silhouettes,
    TumGaid,
    Uwg,
)
"""All that were published, for tools that look something up by name."""

__all__ = [
    "DATASETS",
    "FVG",
    "Biwi",
    "CasiaB",
    "CasiaBTracks",
    "CasiaBVideo",
    "DenseGait",
    "Encodings",
    "GaitCopySamples",
    "GaitDataModule",
    "Grew",
    "IasLab",
    "ImageDataModule",
    "Kgbd",
    "Ks20",
    "OuIsir",
    "OumvlpPose",
    "OwnSequences",
    "OwnSkeletons",
    "Silhouettes",
    "TumGaid",
    "Uwg",
]
