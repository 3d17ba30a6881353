"""Whether a training step ever waits for the GPU, method by method.

    python benchmarks/no_sync.py

Each method takes a few steps (augmentation, forward, loss, backward, optimiser, schedule) on a
batch that lies on the GPU, after a first one that may wait, while CUDA reports every wait as an
error. Prints one line of JSON a method, and ends with status 1 if one waits. Logging is left out:
the progress bar and the logger read what they show. Without a GPU it says so and ends with status
0.
"""

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from gaitbench.batch import GaitBatch
from gaitbench.image_transforms import FrameAugmentation
from gaitbench.methods import (
    SGELA,
    AgeRecognition,
    GaitCopyStudent,
    GaitCopyTeacher,
    GaitFormer,
    GaitGraph,
    GaitGraph2,
    GaitMethod,
    GaitSet,
)
from gaitbench.skeleton import get_skeleton
from gaitbench.transforms import PoseAugmentation

STEPS = 3
PEOPLE, EACH = 4, 2
POSES = PoseAugmentation(
    mirror=0.5,
    mirror_x=0.5,
    scale=0.1,
    joint_dropout=0.1,
    squeeze=0.1,
    squeeze_flip=0.5,
)
FRAMES = FrameAugmentation(mirror_others=True)
TEACHER: dict[str, Any] = {"network": "3d-smallB", "embedding_dim": 64, "num_subjects": PEOPLE}
GRAPH: dict[str, Any] = {
    "num_subjects": PEOPLE,
    "triplet_weight": 1.0,
    "classifier_weight": 1.0,
}

CASES: dict[str, tuple[Callable[[], GaitMethod], tuple[int, ...]]] = {
    "GaitGraph2": (lambda: GaitGraph2(**GRAPH), (60, 17, 3)),
    "GaitGraph2 with attention": (
        lambda: GaitGraph2(backbone="pca-resgcn-n21-r8", **GRAPH),
        (60, 17, 3),
    ),
    "GaitGraph2 with ST-GCN": (
        lambda: GaitGraph2(backbone="st-gcn", streams="raw", **GRAPH),
        (60, 17, 3),
    ),
    "GaitGraph": (lambda: GaitGraph(**GRAPH), (60, 17, 3)),
    "GaitFormer": (lambda: GaitFormer(attribute_weight=0.5), (48, 18, 3)),
    "GaitFormer with ST-GCN": (lambda: GaitFormer(backbone="st-gcn"), (48, 18, 3)),
    "GaitFormer with SimCLR": (lambda: GaitFormer(contrast="simclr"), (48, 18, 3)),
    "SGELA": (lambda: SGELA(contrast_weight=1.0), (6, 20, 3)),
    "AgeRecognition": (lambda: AgeRecognition("age-6x3x16", PEOPLE), (6, 3, 16)),
    "GaitCopyTeacher": (lambda: GaitCopyTeacher(**TEACHER), (25, 60, 60, 2)),
    "GaitCopyTeacher with softplus": (
        lambda: GaitCopyTeacher(mining="softplus", **TEACHER),
        (25, 60, 60, 2),
    ),
    "GaitCopyTeacher with all triplets": (
        lambda: GaitCopyTeacher(mining="all", **TEACHER),
        (25, 60, 60, 2),
    ),
    "GaitCopyStudent": (
        lambda: GaitCopyStudent(cross=0.5, noise=0.1, triplet_weight=0.1, **TEACHER),
        (25, 60, 60, 1),
    ),
    "GaitSet": (lambda: GaitSet(embedding_dim=62 * 16), (12, 64, 44, 1)),
    "GaitSet with hard triplets": (
        lambda: GaitSet(embedding_dim=62 * 16, mining="hard"),
        (12, 64, 44, 1),
    ),
}
"""Name -> method and shape of a window."""


def batch_of(shape: tuple[int, ...], device: torch.device) -> GaitBatch:
    """Windows of made-up people on the device."""
    random = torch.Generator().manual_seed(0)
    size = PEOPLE * EACH
    return GaitBatch(
        torch.rand(size, *shape, generator=random).to(device),
        torch.arange(PEOPLE).repeat_interleave(EACH).to(device),
        torch.arange(size).to(device),
        5,
        attributes=torch.rand(size, 42, generator=random).to(device),
        target=torch.rand(size, 64, generator=random).to(device) if shape[0] == 25 else None,
    )


def varied(batch: GaitBatch, method: GaitMethod) -> GaitBatch:
    """The batch as its augmentation leaves it."""
    frames = batch.frames
    generator = torch.Generator(frames.device).manual_seed(batch.seed)
    if frames.dim() == 5:
        return batch._replace(frames=FRAMES(frames, generator))
    if isinstance(method, AgeRecognition):
        return batch
    layout = get_skeleton(method.skeleton)
    space = isinstance(method, SGELA)
    return batch._replace(frames=POSES(frames, layout, generator, space))


def step_of(method: GaitMethod, batch: GaitBatch) -> Callable[[], None]:
    """A step of a training of that method on that batch."""
    trainer = SimpleNamespace(
        world_size=1, training=True, precision="32-true", estimated_stepping_batches=1000
    )
    method._trainer = trainer  # type: ignore[assignment]
    method.log = _unheard  # type: ignore[assignment,method-assign]
    how: Any = method.configure_optimizers()
    optimizer = how["optimizer"]
    schedule = how["lr_scheduler"]["scheduler"]

    def step() -> None:
        optimizer.zero_grad()
        loss: Tensor = method.training_step(varied(batch, method), 0)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
        if not isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            schedule.step()

    return step


def _unheard(name: str, value: Any, **how: Any) -> None:
    pass


def waits(name: str, device: torch.device) -> str:
    """Where a method's step waits for the GPU; empty if it does not."""
    make, shape = CASES[name]
    torch.manual_seed(0)
    method = make().to(device).train()
    step = step_of(method, batch_of(shape, device))
    step()
    if device.type != "cuda":
        step()
        return ""
    torch.cuda.synchronize(device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(STEPS):
            step()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return ""


def main() -> int:
    """Look at all methods."""
    if not torch.cuda.is_available():
        print("no GPU is here, and so nothing can be said")
        return 0
    device = torch.device("cuda")
    found = {name: waits(name, device) for name in CASES}
    for name, fault in found.items():
        print(json.dumps({"method": name, "waits": bool(fault), "fault": fault}))
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
