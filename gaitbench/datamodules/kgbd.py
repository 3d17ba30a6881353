"""KGBD, Kinect Gait Biometry Dataset: 164 people who walk past a Kinect, as 3D skeletons.

What: 164 people, most of them with five walks along a half circle, as 20 joints in metres.

Where from: its authors, Virginia Andersson and Ricardo Araujo, Federal University of Pelotas.

Licence: for research; see its authors' pages.

On disk: ``kinect gait raw dataset/Person001/1.txt``, a file a walk, 20 lines ``name;x;y;z`` a
frame, in an order of joints of its own. Or as the authors of SGE-LA preprocessed it, see
:mod:`gaitbench.readers.sgela`.

Splits: ``random``: of each person's walks two are drawn for the gallery and one for the probes,
and the rest train (of three walks one each, of two one trains and one is a probe, a single one
trains); all that does not train is tested, and the conditions are ``gallery`` and ``probe``.
``split_seed`` says which walks these are; the published draw is not known. Preprocessed files are
divided as they are.

Known gaps: isolated frames have joints at no distance (z = 0); they are kept as published and
counted. A last frame that is not whole is left out and counted. There is no tracking state.

Citation: Andersson and Araujo, "Person identification using anthropometric and gait data from
Kinect sensor", AAAI 2015. Ways of reading: Rao et al., IJCAI 2020, and the authors' later
programs.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gaitbench.datamodules.kinect import KinectDataModule
from gaitbench.datamodules.spatial import retrieval
from gaitbench.kinect import KGBD
from gaitbench.protocols import Protocol
from gaitbench.readers.kinect import Options

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(retrieval("kgbd", "probe", "gallery"))
"""A walk of each person searched for in two others."""


class Kgbd(KinectDataModule):
    """KGBD: 164 people, some five walks each, as Kinect's 20 joints.

    This module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the folder that holds ``kinect gait raw dataset``, or the one above; or one of
            preprocessed files.
        split: ``random``: each person's walks are divided by chance.
        frames: frames of a window.
        split_seed: which walks train and which are tested.
        clip: ``published`` leaves out the first and last 10 frames of a walk; ``none`` none.
        joint_order: ``kinect`` puts the joints in the order that the layout's limbs are meant for;
            ``published`` leaves that of the files, as published programs do, which serves those
            methods alone that take a joint for a column, as SGE-LA does.
        settings: see :class:`KinectDataModule`.
    """

    dataset = "kgbd"
    kinect = KGBD
    protocols = PROTOCOLS
    default_protocols = tuple(PROTOCOLS)
    divisions = ("random",)
    ways = ("clip", "joint_order")
    overlapping = False

    def __init__(
        self,
        path: str = "data/KGBD",
        split: Literal["random"] = "random",
        frames: int = 6,
        split_seed: int = 0,
        clip: Literal["published", "none"] = "published",
        joint_order: Literal["kinect", "published"] = "kinect",
        **settings: Any,
    ) -> None:
        options = Options(clip=clip, joint_order=joint_order)
        super().__init__(path, split, frames, options, **settings)
        self.split_seed = split_seed

    def find_parts(self) -> NDArray[np.str_]:
        """Walks of each person to ``train``, ``gallery`` and ``probe``."""
        if self.cut:
            return super().find_parts()
        subject = self.open_store().sequences["subject"].to_numpy(str)
        part = np.full(len(subject), "train", "U16")
        for name in np.unique(subject):
            walks = np.flatnonzero(subject == name)
            # a seed a person, so that who else is there changes nothing
            drawn = np.random.default_rng((self.split_seed, int(name))).permutation(walks)
            gallery = max(0, min(2, len(walks) - 2))
            part[drawn[:gallery]] = "gallery"
            part[drawn[gallery : gallery + (len(walks) > 1)]] = "probe"
        return part
