"""KS20, VisLab Multi-View Kinect Skeleton dataset: twenty people seen from five sides, in 3D.

What: 20 people who walk three times before a Kinect of the second generation from each of five
views, as 25 joints in metres.

Where from: the Computer and Robot Vision Laboratory (VisLab), Instituto Superior Tecnico, Lisbon,
on request.

Licence: for research, by an agreement with its owner.

On disk: the owner gives out MATLAB files. What is read is the text that the later programs of
SGE-LA's authors expect to be made of them: ``left_lateral``, ``left_diagonal``, ``frontal``,
``right_diagonal`` and ``right_lateral``, a file a frame ``gc1_body7_<time>.txt`` of take 1 and
person 7, 25 lines, of which the second to the fourth value are x, y and z. Or as these authors
preprocessed it, in one piece or a folder a view (``view_0`` to ``view_4``), see
:mod:`gaitbench.readers.sgela`.

Splits: ``random``: of each person's takes from a view one is drawn for the probes, half of the
others train and half are the gallery (of two one trains and one is a probe, a single one trains);
all that does not train is tested, and the conditions are ``gallery`` and ``probe``. ``split_seed``
says which takes these are; the published draw is not known. ``take``: the first takes train, the
second are the gallery, the third the probes; any others train. Preprocessed files are divided as
they are.

Known gaps: what a file's other values mean, and whether the authors leave out any frames, is not
published. Here no frame is clipped off, and frames whose joints are all at zero are left out and
counted. That ``body7`` names person 7, and that ``view_0`` to ``view_4`` are the views from 0 to
180 degrees, is inferred from the authors' programs and tables. One of these files some takes under
the number of the take that follows, and loses the last; here every take is what its name says.

Citation: Nambiar et al., "Context-aware person re-identification in the wild via fusion of gait and
anthropometric features", FG 2017 workshops. Ways of reading: Rao et al. 2021, T-PAMI, arXiv
2009.03671, and the authors' later programs.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gaitbench.datamodules.kinect import KinectDataModule
from gaitbench.datamodules.spatial import retrieval
from gaitbench.kinect import KS20, KS20_VIEWS
from gaitbench.protocols import Protocol
from gaitbench.readers.kinect import Options
from gaitbench.skeleton import KINECT25

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(retrieval("ks20", "probe", "gallery"))
"""A take of each person and view searched for among others of all views."""


class Ks20(KinectDataModule):
    """KS20: 20 people, three takes from each of five views, as 25 joints of Kinect's SDK 2.

    This module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the folder that holds those of the views, or the one above; or one of preprocessed
            files.
        split: ``random`` divides each person's takes by chance, ``take`` by their number.
        frames: frames of a window.
        view: the only one that is read, in degrees; None for all.
        split_seed: which takes train and which are tested.
        gaps: ``join`` puts frames together around those that are left out, ``cut`` makes two
            sequences of them.
        settings: see :class:`KinectDataModule`.
    """

    dataset = "ks20"
    kinect = KS20
    native_skeleton = KINECT25.name
    protocols = PROTOCOLS
    default_protocols = tuple(PROTOCOLS)
    divisions = ("random", "take")
    ways = ("gaps",)

    def __init__(
        self,
        path: str = "data/KS20",
        split: Literal["random", "take"] = "random",
        frames: int = 6,
        view: Literal[0, 30, 90, 130, 180] | None = None,
        split_seed: int = 0,
        gaps: Literal["join", "cut"] = "join",
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, Options(gaps=gaps), **settings)
        self.split_seed = split_seed
        self.view = view
        if view is not None:
            folder = next(name for name, degrees in KS20_VIEWS.items() if degrees == view)
            self.kinect = replace(KS20, parts={folder: folder})

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """How the recordings were read, and from which view if not from all."""
        one = {} if self.view is None else {"view": self.view}
        return {**super().store_settings, **one}

    def find_parts(self) -> NDArray[np.str_]:
        """Takes of each person and view to ``train``, ``gallery`` and ``probe``."""
        if self.cut:
            return super().find_parts()
        table = self.open_store().sequences
        number = table["number"].to_numpy()
        if self.split_name == "take":
            return np.select([number == 2, number == 3], ["gallery", "probe"], "train")
        part = np.full(len(table), "train", "U16")
        who = np.stack([table["subject"].astype(int), table["view"]], axis=1)
        for person, view in np.unique(who, axis=0):
            rows = np.flatnonzero((who == (person, view)).all(axis=1))
            # a seed a person and view, so that who else is there changes nothing
            random = np.random.default_rng((self.split_seed, person, view))
            takes = random.permutation(np.unique(number[rows]))
            probe, gallery = takes[: len(takes) > 1], takes[1 : (len(takes) + 1) // 2]
            part[rows[np.isin(number[rows], probe)]] = "probe"
            part[rows[np.isin(number[rows], gallery)]] = "gallery"
        return part
