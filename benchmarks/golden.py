"""GaitFormer's networks against the numbers of the authors' program, of which some files are large.

    python benchmarks/golden.py FOLDER

FOLDER holds ``model_gaitformer_l2.npz``, ``model_gaitformer_sm_f16.npz`` and
``model_stgcn_f16.npz``: weights, an input and what the authors' networks make of it; and
``import``: a checkpoint, a DenseGait and an FVG as files, and what that program makes of them.
Prints one line of JSON with the largest difference of each output, and ends with status 1 if one is
above its tolerance: 2e-6 in float32, 1e-9 in float64.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gaitbench.backbones import PoseGraph, PoseTransformer
from gaitbench.checkpoints import read_published
from gaitbench.datamodules import FVG, DenseGait, GaitDataModule

FILES = ("model_gaitformer_l2", "model_gaitformer_sm_f16", "model_stgcn_f16")
KINDS = {"f32": (torch.float32, "out", 2e-6), "f64": (torch.float64, "out64", 1e-9)}
"""Precision, begin of the outputs' names, and tolerance."""


def tensor(array: Any) -> Tensor:
    """An array of the file; half precision there is a way to save space."""
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)


def network(meta: dict[str, Any], graph: bool) -> nn.Module:
    """The network that a file's description tells."""
    args, told = meta["model_args"], len(meta["attributes"])
    if graph:
        return PoseGraph(args["embedding_size"], args["projection_size"], told)
    return PoseTransformer(
        meta["period_length"],
        width=args["embedding_size"],
        depth=args["n_layers"],
        heads=args["n_heads"],
        projection_dim=args["projection_size"],
        attributes=told,
    )


@torch.no_grad()
def differences(path: Path) -> dict[str, float]:
    """Largest difference of each output in each precision, by ``precision/output``."""
    with np.load(path, allow_pickle=False) as file:
        data = dict(file)
    model = network(json.loads(str(data["meta"])), graph="sd/A" in data).eval()
    model.load_state_dict(
        {name[3:]: tensor(value) for name, value in data.items() if name.startswith("sd/")}
    )
    found = {}
    for kind, (precision, prefix, _) in KINDS.items():
        frames = tensor(data["input"]).to(precision)[..., 0].permute(0, 2, 3, 1)
        for name, value in model.to(precision)(frames)._asdict().items():
            expected = torch.from_numpy(data[f"{prefix}_{name}"])
            found[f"{kind}/{name}"] = float((value - expected).abs().max())
    return found


@torch.no_grad()
def imported(folder: Path) -> dict[str, float]:
    """Largest difference of each output through the files of ``import``, by ``set/output``."""
    config = json.loads((folder / "model_config.json").read_text())
    model = network(config, graph=False).eval()
    (checkpoint,) = folder.glob("*.ckpt")
    weights = read_published(checkpoint)
    model.load_state_dict({name.removeprefix("module."): w for name, w in weights.items()})
    found = {}
    with (
        np.load(folder / "expected.npz", allow_pickle=False) as expected,
        tempfile.TemporaryDirectory() as cache,
    ):
        how: dict[str, Any] = {"cache": cache, "crop": "tiled", "eval_batch_size": 1000}
        sets: dict[str, GaitDataModule] = {
            "densegait_train": DenseGait(str(folder / "densegait"), **how),
            "densegait_validation": DenseGait(str(folder / "densegait"), part="validation", **how),
            "fvg_test": FVG(str(folder / "fvg"), split="136/89", **how),
        }
        for name, data in sets.items():
            data.setup("predict")
            (batch,) = data.predict_dataloader()
            frames = data.on_after_batch_transfer(batch, 0).frames
            for output, value in model(frames)._asdict().items():
                other = torch.from_numpy(expected[f"{name}/{output}"])
                found[f"f32/{name}/{output}"] = float((value - other).abs().max())
    return found


def main() -> int:
    """Compare; 1 if something differs too much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    found = {name: differences(folder / f"{name}.npz") for name in FILES}
    found["import"] = imported(folder / "import")
    print(json.dumps({"name": "golden gaitformer", "unit": "largest difference", **found}))
    above = [
        f"{name} {output} {value}"
        for name, outputs in found.items()
        for output, value in outputs.items()
        if not value <= KINDS[output[:3]][2]
    ]
    for line in above:
        print(f"above tolerance: {line}", file=sys.stderr)
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
