"""GaitSet: a walk as a set of silhouettes.

Source: Chao et al. 2019, arXiv 1811.06186, and the authors' program.
"""

from collections.abc import Sequence
from typing import Any, Literal

from gaitbench.backbones.gaitset import PARTS
from gaitbench.losses import BatchAllTriplet, HardTriplet, MinedTriplet
from gaitbench.methods.base import OF_THE_RUN
from gaitbench.methods.frames import FrameMethod, Rate


class GaitSet(FrameMethod):
    """GaitSet alone, trained by triplets of each of its 62 parts, in P x K batches.

    What is compared is the code of all parts side by side. The defaults are as published, but for
    one thing: that program skips a step whose loss is 0, where here Adam goes on by its momentum.

    Args:
        skeleton: modality and size of the frames; given by the dataset.
        num_subjects: not used; given by the dataset.
        network: ``gaitset`` for silhouettes of 64 rows, ``gaitset-copy`` for frames of 60.
        embedding_dim: of all parts together: 256 for each as published.
        mining: ``all`` triplets of a batch, or of each walk the ``hard`` one.
        margin: by which a negative shall be farther than a positive.
        learning_rate: see :class:`FrameMethod`, as those below.
        weight_decay: L2.
        optimizer: ``adam`` as published; OpenGait's recipe has ``sgd``.
        rate: see :class:`FrameMethod`.
        milestones: in rising order.
        rate_factor: at each of them.
        settings: see :class:`gaitbench.methods.GaitMethod`.
    """

    def __init__(
        self,
        skeleton: str = "silhouette-64x44",
        num_subjects: int = 0,
        network: str = "gaitset",
        embedding_dim: int = PARTS * 256,
        mining: Literal["all", "hard"] = "all",
        margin: float = 0.2,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        optimizer: Literal["tf_adam", "adam", "sgd"] = "adam",
        rate: Rate = "constant",
        milestones: Sequence[int] = (),
        rate_factor: float = 0.1,
        **settings: Any,
    ) -> None:
        loss: MinedTriplet = HardTriplet(margin, unit=False, parts=PARTS)
        if mining == "all":
            loss = BatchAllTriplet(margin, unit=False, parts=PARTS, itself=True)
        super().__init__(
            skeleton,
            network,
            embedding_dim,
            weights={"triplet": 1.0},
            losses={"triplet": loss},
            optimizer=optimizer,
            rate=rate,
            milestones=milestones,
            rate_factor=rate_factor,
            num_subjects=num_subjects,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            **settings,
        )
        self.save_hyperparameters(ignore=OF_THE_RUN)
