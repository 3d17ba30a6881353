"""Drawings of where a network looks, made while it predicts."""

from gaitbench.drawings.callback import Drawings

__all__ = ["Drawings"]
