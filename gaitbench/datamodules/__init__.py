"""The datasets: one a file. The class names are what a YAML writes."""

from gaitbench.datamodules.base import GaitDataModule
from gaitbench.datamodules.casia_b import CasiaB
from gaitbench.datamodules.densegait import DenseGait
from gaitbench.datamodules.fvg import FVG
from gaitbench.datamodules.oumvlp import OumvlpPose

DATASETS: tuple[type[GaitDataModule], ...] = (CasiaB, DenseGait, FVG, OumvlpPose)
"""All of them, for tools that look something up by name."""

__all__ = ["DATASETS", "FVG", "CasiaB", "DenseGait", "GaitDataModule", "OumvlpPose"]
