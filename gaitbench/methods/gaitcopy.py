"""GaitCopy: a teacher that sees optical flow, and a student of gray frames that copies it.

Source: Delgado-Escano et al. 2021, IEEE Access 9, document 9646881, and the authors' program. It
has no training of the teacher: that recipe is told by its network, and by the programs of the same
authors' UGaitNet (Marin-Jimenez et al. 2021, doi 10.1109/TIFS.2021.3132579).
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from gaitbench.backbones import frame_network
from gaitbench.batch import GaitBatch
from gaitbench.checkpoints import read_checkpoint
from gaitbench.errors import InputError
from gaitbench.losses import SignatureLoss
from gaitbench.methods.base import OF_THE_RUN
from gaitbench.methods.frames import (
    CHANNELS,
    FrameMethod,
    Mining,
    Rate,
    classifier,
    mined_triplet,
    unit_code,
)
from gaitbench.processes import gathered


class GaitCopyTeacher(FrameMethod):
    """A network of windows, usually of flow, that learns who is who.

    What is compared, and what ``predict`` writes for a student, is the code scaled to unit length.

    Args:
        skeleton: modality and size of the windows; given by the dataset.
        num_subjects: of the classifier; given by the dataset.
        network: see :func:`gaitbench.backbones.frame_network`; published is ``3d-bmvc``.
        embedding_dim: D; published 1024 for TUM-GAID, 2048 for CASIA-B.
        dropout: before the code.
        mining: of the triplets, see :func:`gaitbench.methods.frames.mined_triplet`.
        margin: by which a negative shall be farther than a positive.
        unit: measure triplets between unit codes, otherwise between codes as they are.
        triplet_weight: what the triplet loss counts.
        classifier_weight: what the cross-entropy over the training subjects counts, which looks at
            the code before it is scaled.
        penalty: see :class:`FrameMethod`, as those below.
        learning_rate: to begin with.
        weight_decay: L2.
        optimizer: ``tf_adam``, ``adam`` or ``sgd``.
        rate: how the rate falls.
        milestones: in rising order.
        rate_factor: by which it falls.
        patience: epochs.
        rate_floor: the lowest.
        settings: see :class:`gaitbench.methods.GaitMethod`.
    """

    def __init__(
        self,
        skeleton: str = "flow-25x60x60",
        num_subjects: int = 2,
        network: str = "3d-bmvc",
        embedding_dim: int = 1024,
        dropout: float = 0.0,
        mining: Mining = "semi_hard",
        margin: float = 0.25,
        unit: bool = True,
        triplet_weight: float = 1.0,
        classifier_weight: float = 0.1,
        penalty: bool = True,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        optimizer: Literal["tf_adam", "adam", "sgd"] = "tf_adam",
        rate: Rate = "plateau",
        milestones: Sequence[int] = (),
        rate_factor: float = 0.2,
        patience: int = 3,
        rate_floor: float = 1e-5,
        **settings: Any,
    ) -> None:
        super().__init__(
            skeleton,
            network,
            embedding_dim,
            weights={"triplet": triplet_weight, "classifier": classifier_weight},
            losses={
                "triplet": mined_triplet(mining, margin, unit),
                **classifier(classifier_weight, embedding_dim, num_subjects),
            },
            dropout=dropout,
            penalty=penalty,
            optimizer=optimizer,
            rate=rate,
            milestones=milestones,
            rate_factor=rate_factor,
            patience=patience,
            rate_floor=rate_floor,
            num_subjects=num_subjects,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            **settings,
        )
        self.save_hyperparameters(ignore=OF_THE_RUN)

    def embed(self, frames: Tensor) -> Tensor:
        """Signatures (B, D) of windows (B, T, H, W, C)."""
        return unit_code(self(frames))


class GaitCopyStudent(FrameMethod):
    """A network of windows, usually of gray frames, whose code becomes a teacher's signature.

    The teacher is either told by the signatures that its ``predict`` has written
    (``data.signatures``), or it is asked: ``teacher`` names its checkpoint, and
    ``data.teacher_modality`` what it sees of the same windows. It does not train then, and is no
    part of the student's checkpoint; tests need neither.

    As published the loss is the sum over a batch, so that gradients grow with it. Triplets and
    cross-entropy are off; ``mining``, ``margin`` and ``unit`` are those of the triplets.

    Args:
        skeleton: modality and size of the windows; given by the dataset.
        num_subjects: of the classifier; given by the dataset.
        network: see :func:`gaitbench.backbones.frame_network`; the smallest of the paper's is
            ``3d-smallB``.
        embedding_dim: D, that of the teacher.
        dropout: before the code.
        start: how the 3D-CNN's kernels are drawn.
        form: of the loss, see :class:`gaitbench.losses.SignatureLoss`, with ``delta``.
        delta: where its square ends.
        unit_copy: codes of length one are compared with signatures; the authors' option ``--l2``.
        signature_weight: what it counts.
        triplet_weight: what the triplet loss counts beside it; 0.1 in the authors' variants.
        mining: see :class:`GaitCopyTeacher`.
        margin: likewise.
        unit: likewise; the authors' GaitSet student measures codes as they are.
        classifier_weight: what the cross-entropy over the training subjects counts; 0.2 for that
            GaitSet student.
        released: that cross-entropy as this student has it, see
            :class:`gaitbench.losses.LinearClassification`.
        noise: standard deviation of what is added to each value of a signature; the authors count
            it in units of 0.0001.
        cross: probability that a window's signature is replaced with that of a window of the same
            person in the batch, which may be its own; 0.75 in the authors' option, which draws from
            all training windows. It needs P x K batches to do much.
        teacher: checkpoint of a teacher. It is a setting of the run and not stored.
        penalty: see :class:`FrameMethod`, as those below.
        learning_rate: to begin with.
        weight_decay: L2.
        optimizer: ``tf_adam``, ``adam`` or ``sgd``.
        rate: how the rate falls. A ``plateau`` is one of the mean loss of a validation window.
        milestones: in rising order.
        rate_factor: by which it falls.
        patience: epochs.
        rate_floor: the lowest.
        settings: see :class:`gaitbench.methods.GaitMethod`.
    """

    def __init__(
        self,
        skeleton: str = "gray-25x60x60",
        num_subjects: int = 2,
        network: str = "3d-bmvc",
        embedding_dim: int = 1024,
        dropout: float = 0.4,
        start: Literal["glorot", "he"] = "glorot",
        form: Literal["smooth_l1", "huber", "mse"] = "smooth_l1",
        delta: float = 0.5,
        unit_copy: bool = False,
        signature_weight: float = 1.0,
        triplet_weight: float = 0.0,
        mining: Mining = "semi_hard",
        margin: float = 0.25,
        unit: bool = True,
        classifier_weight: float = 0.0,
        released: bool = False,
        noise: float = 0.0,
        cross: float = 0.0,
        teacher: str | None = None,
        penalty: bool = True,
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        optimizer: Literal["tf_adam", "adam", "sgd"] = "tf_adam",
        rate: Rate = "plateau",
        milestones: Sequence[int] = (50, 90, 120),
        rate_factor: float = 0.2,
        patience: int = 3,
        rate_floor: float = 1e-5,
        **settings: Any,
    ) -> None:
        if noise < 0:
            raise InputError(f"model.noise is {noise}; give 0 or more")
        if not 0 <= cross <= 1:
            raise InputError(f"model.cross is {cross}; give a probability, 0 to 1")
        super().__init__(
            skeleton,
            network,
            embedding_dim,
            weights={
                "signature": signature_weight,
                "triplet": triplet_weight,
                "classifier": classifier_weight,
            },
            losses={
                "triplet": mined_triplet(mining, margin, unit),
                **classifier(classifier_weight, embedding_dim, num_subjects, released),
            },
            dropout=dropout,
            start=start,
            penalty=penalty,
            optimizer=optimizer,
            rate=rate,
            milestones=milestones,
            rate_factor=rate_factor,
            patience=patience,
            rate_floor=rate_floor,
            num_subjects=num_subjects,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            **settings,
        )
        self.save_hyperparameters(ignore=[*OF_THE_RUN, "teacher"])
        self.copying = SignatureLoss(form, delta, unit_copy)
        self.embedding_dim = embedding_dim
        self.noise = noise
        self.cross = cross
        self.teacher = teacher
        # in a list, which is no part of a module: neither trained nor saved
        self._asked: list[nn.Module] = []

    def setup(self, stage: str) -> None:
        """See :class:`FrameMethod`; read the teacher.

        Raises:
            InputError: if there is nothing to copy, or the teacher sees something else.
        """
        super().setup(stage)
        data: Any = getattr(self._trainer, "datamodule", None)
        if stage not in ("fit", "validate") or data is None:
            return
        modality = getattr(data, "teacher_modality", "none")
        if self.teacher is None:
            if getattr(data, "signatures", None) is None:
                raise InputError(
                    "a student copies a teacher's signatures; name what its `predict` has written "
                    "by data.signatures, or its checkpoint by model.teacher and what it sees by "
                    "data.teacher_modality"
                )
            return
        if modality == "none":
            raise InputError(
                f"model.teacher {self.teacher} must see the windows too; give "
                "data.teacher_modality, or data.signatures in place of a teacher"
            )
        self._asked = [frozen_teacher(self.teacher, modality, self.embedding_dim)]

    def embed(self, frames: Tensor) -> Tensor:
        """Signatures (B, D) of windows (B, T, H, W, C)."""
        return unit_code(self(frames))

    def signatures(self, batch: GaitBatch) -> Tensor:
        """What codes shall become, (B, D): given, or asked of the teacher.

        Raises:
            InputError: if there is nothing, or of another size.
        """
        target = batch.target
        if target is None:
            raise InputError(
                "these windows have no signatures; give data.signatures or data.teacher_modality"
            )
        if self._asked:
            with torch.no_grad():
                return unit_code(self._asked[0].to(target.device)(target))
        if target.shape[1:] != (self.embedding_dim,):
            raise InputError(
                f"the signatures have {target.shape[1]} values, this student's codes "
                f"{self.embedding_dim}; give model.embedding_dim {target.shape[1]}"
            )
        return target

    def varied(self, signatures: Tensor, batch: GaitBatch) -> Tensor:
        """Signatures (B, D) with what ``cross`` and ``noise`` change, drawn from the seed."""
        if not (self.cross or self.noise):
            return signatures
        # the augmentation of the windows draws from the seed itself
        generator = Generator(signatures.device).manual_seed(batch.seed ^ 1)
        if self.cross:
            same = batch.subject[:, None] == batch.subject
            # the first column tells whether; torch.multinomial would wait for the device
            draw = torch.rand(len(same), 1 + len(same), generator=generator, device=same.device)
            other = draw[:, 1:].masked_fill(~same, -1).argmax(dim=1)
            signatures = torch.where(draw[:, :1] < self.cross, signatures[other], signatures)
        if self.noise:
            draw = torch.empty_like(signatures).normal_(generator=generator)
            signatures = signatures + self.noise * draw
        return signatures

    def whole(self, code: Tensor, batch: GaitBatch) -> tuple[Tensor, GaitBatch]:
        """See :class:`FrameMethod`; signatures become the target."""
        if "signature" in self.weights:
            (target,) = gathered(batch.share, self.signatures(batch))
            batch = batch._replace(target=target)
        return super().whole(code, batch)

    def terms(self, code: Tensor, batch: GaitBatch) -> dict[str, Tensor]:
        """Terms of the loss by name, of codes and signatures (B, D) of a global batch."""
        terms = super().terms(code, batch)
        if "signature" not in self.weights:
            return terms
        assert batch.target is not None
        return {"signature": self.copying(code, self.varied(batch.target, batch)), **terms}

    def validation_step(self, batch: GaitBatch, batch_idx: int) -> dict[str, Tensor]:
        """The signature and its rows; logs how far codes are from the teacher's."""
        own = self(batch.frames)
        code, target = gathered(batch.share, own, self.signatures(batch))
        loss = self.copying(code, target)
        if self.copying.form == "smooth_l1":
            loss = loss / len(code)
        self.log("val/loss", loss, prog_bar=True, batch_size=len(code))
        self.log("val/mean_error", (code - target).abs().mean(), batch_size=len(code))
        return {"embedding": unit_code(own), "row": batch.row}


def frozen_teacher(path: str, modality: str, embedding_dim: int) -> nn.Module:
    """The network in a checkpoint of a teacher, which learns no more.

    Args:
        path: of the checkpoint.
        modality: of what it shall see.
        embedding_dim: that its code must have.

    Raises:
        InputError: if there is none, or it sees something else, or its code has another size.
    """
    content = read_checkpoint(path)
    settings, seen = content.get("hyper_parameters", {}), content.get("gaitbench", {})
    found = str(seen.get("skeleton", "")).partition("-")[0]
    if found not in CHANNELS or not {"network", "embedding_dim"} <= {*settings}:
        raise InputError(
            f"{path} holds a {seen.get('method', 'network')} and no teacher; name a checkpoint of "
            "GaitCopyTeacher"
        )
    if found != modality:
        raise InputError(
            f"the teacher in {path} sees {found}, data.teacher_modality is {modality}; give {found}"
        )
    if settings["embedding_dim"] != embedding_dim:
        raise InputError(
            f"the teacher in {path} has codes of {settings['embedding_dim']} values, this student "
            f"of {embedding_dim}; give model.embedding_dim {settings['embedding_dim']}"
        )
    network = frame_network(settings["network"], CHANNELS[found], embedding_dim)
    weights = {
        name.removeprefix("backbone."): value
        for name, value in content["state_dict"].items()
        if name.startswith("backbone.")
    }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"the weights in {path} are not those of its network {settings['network']}; name "
            "another checkpoint"
        ) from error
    return network.eval().requires_grad_(False)
