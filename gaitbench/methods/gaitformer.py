"""GaitFormer: a transformer over the frames of a skeleton, trained on people and their looks."""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn

from gaitbench.backbones import PoseGraph, PoseTransformer
from gaitbench.batch import GaitBatch
from gaitbench.densegait import ATTRIBUTES, attribute_names
from gaitbench.errors import InputError
from gaitbench.losses import AttributeLoss, PairContrastive, SimCLR, SupCon
from gaitbench.methods.base import OF_THE_RUN, GaitMethod
from gaitbench.processes import gathered
from gaitbench.schedules import STEP_FALL, CyclicPhases, Phase, SteadyFall, layer_wise_groups
from gaitbench.skeleton import OPENPOSE18, get_skeleton

HEADS = ("out_appearance", "projection", "out_embedding")
"""What stands after the layers."""
LAYERS = {
    "gaitformer": ("encoder.layers", ("skeleton_encoding", "positional_embedding")),
    "st-gcn": ("st_gcn_networks", ("data_bn", "edge_importance")),
}
"""Names of each network's layers, and of what stands before them."""
SIZES = {"gaitformer": ("backbone", "width", "depth", "heads"), "st-gcn": ("backbone", "width")}
"""Settings that weights must share to be those of the same network."""
MISNAMED = ("encoder.layer", LAYERS["gaitformer"][1])
"""What the authors' program takes for them."""

logger = logging.getLogger(__name__)


class GaitFormer(GaitMethod):
    """GaitFormer (Cosma and Radoi, Sensors 2022, doi 10.3390/s22186803).

    A walk's frames go through a transformer to a unit vector, the representation, which is compared
    by L1 distance (protocol ``casia_b.pooled``); the same network tells how likely each of up to 42
    attributes is. Two losses train it, each with a weight: a contrastive one of a projection, for
    which ``data.train_windows`` 2 gives two windows of each sequence that are cut and varied
    independently, and the binary cross-entropy of the attributes. Published for CASIA-B after a
    training on other people alone (DenseGait): NM 92.5, by that protocol, which is easier than the
    field's.

    | regime | contrastive_weight | attribute_weight | llrd |
    |---|---|---|---|
    | multi-task | 1 | 0.5 | none |
    | contrastive, SimCLR | 1 | 0 | none |
    | appearance, gender | 0 | 1 | none |
    | recognition, fine-tuned | 1 | 0 | reference or intended |
    | gender, fine-tuned | 0 | 1 | reference or intended |

    As published: networks and their initialisation, losses, optimisers, rates. A fine-tuning starts
    from ``initial_weights``; give ``trainer.gradient_clip_val`` 1.5 in all regimes. Windows and
    augmentation are the dataset's: the shipped configs have those of the authors' program.

    Args:
        skeleton: layout of the poses, of any number of joints; given by the dataset. Published is
            openpose18.
        num_subjects: training subjects; given by the dataset.
        backbone: ``gaitformer``, or ``st-gcn``, with which it was compared.
        period: frames of a window, the same as ``data.frames``; ST-GCN takes any number.
        width: size D of tokens and embedding.
        depth: layers of the transformer: 4, 8 or 12 in the published sizes sm, md and xl.
        heads: of its attention.
        projection_dim: of the vectors that the contrastive loss sees.
        attributes: categories whose attributes the network tells, in its order; see
            :data:`gaitbench.densegait.ATTRIBUTES`. Those are trained that the data tell too.
        dropout: everywhere in the transformer; in the last layer of ST-GCN.
        readout: ``first`` token of the transformer, as the published program, or ``mean`` over all,
            as the published figure.
        contrast: ``supcon``, or ``simclr``, which tells every sequence from every other.
        contrastive_weight: what that loss counts.
        attribute_weight: what the attributes' loss counts. At 0 their head is not trained, and in
            evaluation it is not asked.
        temperature: of the contrastive loss.
        base_temperature: of :class:`gaitbench.losses.SupCon`.
        epsilon: of that loss; 0 gives the equation's.
        phases: of the cyclic learning rate, see :class:`gaitbench.schedules.Phase`. If none are
            named there is one cycle with its peak at ``learning_rate``.
        llrd: layer-wise learning rates, see :func:`gaitbench.schedules.layer_wise_groups`, all of
            which fall by a factor a step. ``reference``, as in the authors' program, misses the
            layers' names: they stay as they are, while their gradients pile up over the whole
            training and make the clipping of all gradients together stronger and stronger. Of
            ST-GCN only the heads are trained then. ``intended`` trains the layers.
        learning_rate: peak of the one cycle; phases have their own rates. With ``llrd`` the last
            layer has 0.9 of it (published: 3.5e-4).
        head_rate: of the heads with ``llrd``.
        weight_decay: decoupled for AdamW, L2 for Adam.
        optimizer: ``adamw`` or ``adam``.
        tta: also compare the walk reversed in time (2 D values), and tell the mean of both walks'
            attributes; not published.
        settings: see :class:`GaitMethod`.

    Raises:
        InputError: if a setting is impossible.
    """

    own_columns: Tensor
    data_columns: Tensor

    def __init__(
        self,
        skeleton: str = OPENPOSE18.name,
        num_subjects: int = 0,
        backbone: Literal["gaitformer", "st-gcn"] = "gaitformer",
        period: int = 48,
        width: int = 256,
        depth: int = 4,
        heads: int = 8,
        projection_dim: int = 128,
        attributes: Sequence[str] = tuple(ATTRIBUTES),
        dropout: float = 0.1,
        readout: Literal["first", "mean"] = "first",
        contrast: Literal["supcon", "simclr"] = "supcon",
        contrastive_weight: float = 1.0,
        attribute_weight: float = 0.0,
        temperature: float = 0.001,
        base_temperature: float = 0.07,
        epsilon: float = 1e-6,
        phases: Sequence[Phase] = (),
        llrd: Literal["none", "reference", "intended"] = "none",
        learning_rate: float = 1e-4,
        head_rate: float = 3.6e-3,
        weight_decay: float = 0.01,
        optimizer: Literal["adamw", "adam"] = "adamw",
        tta: bool = False,
        **settings: Any,
    ) -> None:
        for name, value in (
            ("contrastive_weight", contrastive_weight),
            ("attribute_weight", attribute_weight),
            ("head_rate", head_rate),
        ):
            if value < 0:
                raise InputError(f"model.{name} is {value}; give 0 or more")
        if not contrastive_weight and not attribute_weight:
            raise InputError(
                "model.contrastive_weight and model.attribute_weight are both 0; give one above 0"
            )
        if phases and llrd != "none":
            raise InputError(
                f"model.llrd {llrd} has rates of its own; give model.phases [] or model.llrd none"
            )
        super().__init__(
            skeleton=skeleton,
            num_subjects=num_subjects,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            optimizer=optimizer,
            tta=tta,
            **settings,
        )
        self.save_hyperparameters(ignore=OF_THE_RUN)
        self.network = backbone
        layout = get_skeleton(skeleton)
        self.period = period
        self.contrast = contrast
        self.contrastive_weight = contrastive_weight
        self.attribute_weight = attribute_weight
        self.phases = list(phases)
        self.llrd = llrd
        self.head_rate = head_rate
        self.tells = attribute_names(attributes)
        self.backbone: PoseGraph | PoseTransformer
        if backbone == "st-gcn":
            self.backbone = PoseGraph(width, projection_dim, len(self.tells), dropout, layout)
        else:
            self.backbone = PoseTransformer(
                period,
                layout.num_joints * 3,
                width,
                depth,
                heads,
                projection_dim,
                len(self.tells),
                dropout,
                readout,
            )
        # a head that no loss reaches
        for name, part in self.backbone.named_children():
            reached = attribute_weight if name == "out_appearance" else contrastive_weight
            if name in HEADS and not reached:
                part.requires_grad_(False)
        self.loss = (
            SimCLR(temperature)
            if contrast == "simclr"
            else SupCon(temperature, base_temperature, epsilon)
        )
        self.attribute_loss = AttributeLoss()
        self.validation_loss = PairContrastive()
        self.test_time_views = (lambda frames: frames.flip(1),)
        # columns of the attributes that are trained, of the network's and of the data's
        for columns in ("own_columns", "data_columns"):
            self.register_buffer(columns, torch.arange(len(self.tells)), persistent=False)
        self.piled_up: dict[str, Tensor] = {}

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the attributes that it tells, () where they have not been trained."""
        return self.tells if self.attribute_weight else ()

    @property
    def window_shape(self) -> tuple[int | None, ...]:
        """See :class:`GaitMethod`."""
        any_length, *rest = super().window_shape
        return self.period if self.network == "gaitformer" else any_length, *rest

    def setup(self, stage: str) -> None:
        """See :class:`GaitMethod`; look at what the data are.

        Raises:
            InputError: if the poses are not normalised, or 3D poses not measured from the body; if
                there are no attributes to train, if SimCLR gets more or fewer than two windows, or
                if no initial weight fits.
        """
        data: Any = getattr(self._trainer, "datamodule", None)
        if data is not None:
            if data.frame_kind == "skeleton3d":
                if data.origin != "body":
                    raise InputError(
                        f"GaitFormer takes 3D poses that are measured from the body, those of "
                        f"{data.dataset} are measured from the {data.origin}; give data.origin body"
                    )
            elif not data.normalized:
                raise InputError(
                    "GaitFormer takes poses in units of the body, the data are in "
                    f"{data.units.split(',')[0]}; give data.normalize pelvis"
                )
            if self.attribute_weight:
                self._match_attributes(data.attributes, stage)
        windows = getattr(data, "train_windows", 2)
        if (
            stage == "fit"
            and self.contrastive_weight
            and windows != 2
            and self.contrast == "simclr"
        ):
            raise InputError(
                f"model.contrast simclr compares two windows of each sequence, data.train_windows "
                f"is {windows}; give 2"
            )
        if stage == "fit" and self.llrd == "reference" and self.trainer.precision == "16-mixed":
            raise InputError(
                "model.llrd reference lets gradients pile up, which trainer.precision 16-mixed "
                "scales as it goes; give 32-true or bf16-mixed"
            )
        super().setup(stage)

    def _match_attributes(self, known: Sequence[str], stage: str) -> None:
        """Choose the attributes that network and data both know; say which they are.

        Raises:
            InputError: if there is none to train.
        """
        common = [name for name in self.tells if name in known]
        if not common and stage == "fit":
            raise InputError(
                f"the data tell {_listed(known)}, the network {_listed(self.tells)}, and none of "
                "them in common; give data.labels, other model.attributes, or "
                "model.attribute_weight 0"
            )
        how: Any = {"dtype": torch.long, "device": self.own_columns.device}
        self.own_columns = torch.tensor([self.tells.index(name) for name in common], **how)
        self.data_columns = torch.tensor([known.index(name) for name in common], **how)
        if stage == "fit":
            rank_zero_only(print)(
                f"attributes: {_listed(common)} trained, of {len(self.tells)} that the network "
                f"tells and {len(known)} that the data tell"
            )

    def forward(self, frames: Tensor) -> Tensor:
        """Normalised poses (B, T, V, 3), y up, to representations (B, D) of unit length."""
        self._check_period(frames)
        representation: Tensor = self.backbone(frames).representation
        return representation

    def told(self, frames: Tensor) -> dict[str, Tensor]:
        """Representations, and probabilities of the attributes where they were trained."""
        self._check_period(frames)
        views = (lambda frames: frames, *(self.test_time_views if self.tta else ()))
        output = self.backbone(torch.cat([view(frames) for view in views]))
        views_first = len(views), -1
        told = {"embedding": torch.cat([*output.representation.unflatten(0, views_first)], dim=1)}
        if self.attribute_names:
            told["attributes"] = output.appearance.unflatten(0, views_first).mean(dim=0)
        return told

    def _check_period(self, frames: Tensor) -> None:
        """Refuse windows of another length than the learned positions.

        Raises:
            InputError: naming both.
        """
        if self.network == "gaitformer" and frames.shape[1] != self.period:
            raise InputError(
                f"this GaitFormer takes windows of {self.period} frames, found {frames.shape[1]}; "
                f"give data.frames {self.period} or train one with another model.period"
            )

    def training_step(self, batch: GaitBatch, batch_idx: int) -> Tensor:
        """Weighted sum of the losses of a batch's projections and attributes."""
        self._check_period(batch.frames)
        output = self.backbone(batch.frames)
        terms = []
        if self.contrastive_weight:
            loss = self.loss(*gathered(batch.share, output.projection, batch.subject))
            terms.append(("contrastive", self.contrastive_weight, loss))
        if self.attribute_weight:
            loss = self._attribute_loss(output.appearance, batch)
            terms.append(("attribute", self.attribute_weight, loss))
        size = batch.total
        if len(terms) > 1:
            for name, _, loss in terms:
                self.log(f"train/{name}_loss", loss, on_step=True, on_epoch=True, batch_size=size)
        total = torch.stack([weight * loss for _, weight, loss in terms]).sum()
        self.log("train/loss", total, prog_bar=True, on_step=True, on_epoch=True, batch_size=size)
        return total

    def _attribute_loss(self, appearance: Tensor, batch: GaitBatch) -> Tensor:
        """Loss of probabilities (B, A) of the network's attributes."""
        if batch.attributes is None:
            raise ValueError("expected a batch with attributes, found None")
        told, given = appearance[:, self.own_columns], batch.attributes[:, self.data_columns]
        loss: Tensor = self.attribute_loss(*gathered(batch.share, told, given))
        return loss

    def log_validation(self, told: dict[str, Tensor], batch: GaitBatch) -> None:
        """Log the validation loss of the plain embedding, and that of the attributes."""
        super().log_validation(told, batch)
        if "attributes" in told and batch.attributes is not None and len(self.own_columns):
            loss = self._attribute_loss(told["attributes"], batch)
            self.log("val/attribute_loss", loss, batch_size=batch.total)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One group, or with ``llrd`` heads, layers and stem."""
        if self.llrd == "none":
            return super().parameter_groups()
        layers, stem = MISNAMED if self.llrd == "reference" else LAYERS[self.network]
        return layer_wise_groups(
            self.backbone.named_parameters(),
            HEADS,
            layers,
            stem,
            len(self.backbone.get_submodule(LAYERS[self.network][0])),  # type: ignore[arg-type]
            self.head_rate,
            self.learning_rate,
            self.weight_decay,
        )

    def _ungrouped(self) -> dict[str, nn.Parameter]:
        """Parameters that no step changes although a gradient reaches them, by name."""
        grouped = {id(p) for group in self.parameter_groups() for p in group["params"]}
        return {
            name: p
            for name, p in self.named_parameters()
            if p.requires_grad and id(p) not in grouped
        }

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """The cyclic phases, a steady fall with ``llrd``, or one cycle where neither is named.

        Raises:
            InputError: if the phases do not follow each other.
        """
        if self.llrd != "none":
            return SteadyFall(optimizer, STEP_FALL)
        if not self.phases:
            return super().schedule(optimizer)
        self.trainer.fit_loop.setup_data()  # has the loader made, whose batches are counted
        batches = int(self.trainer.num_training_batches)
        steps = -(-batches // self.trainer.accumulate_grad_batches)
        return CyclicPhases(optimizer, self.phases, steps)

    def on_train_start(self) -> None:
        """Give parameters that are in no group the gradients that have piled up so far."""
        ungrouped = self._ungrouped()
        for name, gradient in self.piled_up.items():
            if name in ungrouped:
                ungrouped[name].grad = gradient.to(ungrouped[name])
        self.piled_up = {}

    def on_validation_model_zero_grad(self) -> None:
        """Keep the gradients that pile up; a step begins by zeroing the others."""
        if self.llrd != "reference":
            super().on_validation_model_zero_grad()

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip; gradients that piled up count in the norm of all, and shrink with them."""
        if self.llrd == "reference" and gradient_clip_algorithm in (None, "norm"):
            if gradient_clip_val:
                nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)
            return
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See :class:`GaitMethod`; also what poses it takes, what it tells, what has piled up."""
        super().on_save_checkpoint(checkpoint)
        data: Any = getattr(self._trainer, "datamodule", None)
        normalized = data is None or data.normalized  # 3D poses are not, see setup
        checkpoint["gaitbench"] |= {"normalized": normalized, "attributes": list(self.tells)}
        piled_up = {name: p.grad for name, p in self._ungrouped().items() if p.grad is not None}
        if piled_up:
            checkpoint["piled_up"] = piled_up

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights of another skeleton, network or list of attributes.

        Raises:
            InputError: naming what differs.
        """
        told = _told_by(checkpoint)
        if told not in (None, self.tells):
            categories = checkpoint.get("hyper_parameters", {}).get("attributes")
            mend = (
                f"model.attributes {list(categories)}" if categories else "other model.attributes"
            )
            raise InputError(
                f"the checkpoint tells {_listed(told or ())}, this network {_listed(self.tells)}; "
                f"give {mend}, or begin a new training with --model.initial_weights in place of "
                "--ckpt_path"
            )
        super().on_load_checkpoint(checkpoint)
        if self._trainer is not None and self._trainer.training:
            self.piled_up = checkpoint.get("piled_up", {})

    def taken_over(self, checkpoint: dict[str, Any]) -> dict[str, Tensor]:
        """All weights, but for the head of other attributes than this network's.

        Raises:
            InputError: if they are a network's of another kind or size.
        """
        stored = checkpoint.get("hyper_parameters", {})
        for name in SIZES[self.network]:
            own = self.hparams[name]
            if stored.get(name, own) != own:
                raise InputError(
                    f"{self.initial_weights} holds a network of model.{name} {stored[name]}, this "
                    f"one has {own}; give model.{name} {stored[name]} or name another checkpoint"
                )
        skeleton = checkpoint.get("gaitbench", {}).get("skeleton", self.skeleton)
        if skeleton != self.skeleton:
            logger.warning(
                "%s was trained on skeleton %s, the data are %s: what reads joints starts fresh",
                self.initial_weights,
                skeleton,
                self.skeleton,
            )
        weights, told = super().taken_over(checkpoint), _told_by(checkpoint)
        if told in (None, self.tells):
            return weights
        logger.warning(
            "%s tells %s, this network %s: their head starts fresh",
            self.initial_weights,
            _listed(told or ()),
            _listed(self.tells),
        )
        head = "backbone.out_appearance."
        return {name: value for name, value in weights.items() if not name.startswith(head)}


def _told_by(checkpoint: dict[str, Any]) -> tuple[str, ...] | None:
    """Attributes that a checkpoint's network tells; None where it does not say."""
    told = checkpoint.get("gaitbench", {}).get("attributes")
    if told is None:
        categories = checkpoint.get("hyper_parameters", {}).get("attributes")
        told = categories and attribute_names(categories)
    return told and tuple(told)


def _listed(names: Sequence[str]) -> str:
    """How many attributes, and the first few of them."""
    if not names:
        return "no attribute"
    few = ", ".join(names[:3]) + f" and {len(names) - 3} more" * (len(names) > 3)
    return f"{len(names)} attribute{'s' * (len(names) > 1)} ({few})"
