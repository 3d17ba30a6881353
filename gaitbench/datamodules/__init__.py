"""The datasets: one a file. The class names are what a YAML writes."""

from gaitbench.datamodules.base import GaitDataModule
from gaitbench.datamodules.casia_b import CasiaB

__all__ = ["CasiaB", "GaitDataModule"]
