"""Which network a file holds that others have published."""

from pathlib import Path
from typing import Any

from gaitbench.errors import InputError
from gaitbench.published import gaitformer, graphs
from gaitbench.published.network import Published, weights_in

__all__ = ["Published", "recognise"]


def recognise(content: Any, path: Path) -> Published:
    """The network in a published file.

    Args:
        content: of the file, from :func:`gaitbench.checkpoints.read_published`.
        path: named in messages.

    Raises:
        InputError: if there is no network in it, or one that is unknown here.
    """
    found = weights_in(content, path)
    if "gaitbench" in content:
        raise InputError(f"{path} was written by gaitbench; `test` and `predict` take it as it is")
    if gaitformer.is_gaitformer(found):
        return gaitformer.recognise(content, path)
    return graphs.recognise(content, path)
