"""Time for one walk of every method's exported network, and its difference from PyTorch.

    python benchmarks/export.py [--only GaitSet ...] [--repeats 3]

Networks are those of the configs, with fresh weights, on which neither figure hangs. Each is
exported as ``gaitbench export`` does it and checked likewise. A time is processor time on one core;
of the repeats, each a median of up to 200 walks, the least one counts, since other programs on a
machine only make it longer. Prints a line of a Markdown table for each.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from gaitbench import methods
from gaitbench.exported import OnnxNetwork
from gaitbench.exporting import export, made_up_windows, trained_method, walk_times
from gaitbench.methods import GaitMethod

CONFIGS = Path(__file__).parents[1] / "configs"

NETWORKS: dict[str, tuple[str, ...]] = {
    "GaitGraph, one stream": ("gaitgraph/casia_b",),
    "GaitGraph, three branches": ("gaitgraph/casia_b", "gaitgraph/casia_b_branches"),
    "GaitGraph2, CASIA-B": ("gaitgraph2/casia_b",),
    "GaitGraph2, OUMVLP": ("gaitgraph2/oumvlp",),
    "GaitGraph2, concatenated": ("gaitgraph2/casia_b", "gaitgraph2/casia_b_concat"),
    "ST-GCN of GaitGraph2": ("gaitgraph2/casia_b", "gaitgraph2/casia_b_st_gcn"),
    "ST-GCN of GaitFormer": ("gaitformer/densegait", "gaitformer/stgcn"),
    "GaitFormer, 4 layers": ("gaitformer/densegait",),
    "GaitFormer md, 8 layers": ("gaitformer/densegait", "gaitformer/md"),
    "GaitFormer xl, 12 layers": ("gaitformer/densegait", "gaitformer/xl"),
    "SGE-LA, encoder": ("sgela/biwi",),
    "SGE-LA, recognition": ("sgela/recognise",),
    "GaitCopy teacher": ("gaitcopy/casia_b_video_teacher",),
    "GaitCopy student": ("gaitcopy/casia_b_video_student",),
    "GaitCopy student, compact": ("gaitcopy/casia_b_video_student", "gaitcopy/compact_student"),
    "GaitSet": ("gaitset/silhouettes",),
}
"""Name -> configs, laid over each other."""

SKELETONS = {"AgeRecognition": "age-6x20x256"}
"""What a dataset tells a network, where that is not the class's own default."""


def fresh(configs: tuple[str, ...]) -> tuple[type[GaitMethod], dict[str, Any], int]:
    """Class and settings of the method, and the frames of a window."""
    kind, settings, frames = "", {}, 0
    for name in configs:
        content = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
        model, data = content.get("model", {}), content.get("data", {})
        kind = model.get("class_path", kind)
        settings |= model.get("init_args", {})
        frames = data.get("init_args", {}).get("frames", frames)
    if kind in SKELETONS:
        settings["skeleton"] = SKELETONS[kind]
    return getattr(methods, kind), settings, frames


def of_onnx(network: OnnxNetwork, frames: torch.Tensor) -> Any:
    """What the file tells of windows."""
    return network(frames.numpy())


def main() -> None:
    """Export and measure one network after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], help="beginnings of names")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print("| network | weights | frames | difference | ONNX, ms | PyTorch, ms |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, configs in NETWORKS.items():
        if given.only and not name.startswith(tuple(given.only)):
            continue
        torch.manual_seed(0)
        kind, settings, frames = fresh(configs)
        network = kind(**settings)
        content: dict[str, Any] = {"state_dict": network.state_dict()}
        network.on_save_checkpoint(content)
        settings = {key: value for key, value in settings.items() if key != "skeleton"}
        with tempfile.TemporaryDirectory() as folder:
            source, path = Path(folder) / "fresh.ckpt", Path(folder) / "fresh.onnx"
            torch.save(content, source)
            method = trained_method(kind, settings, content)
            length = frames if method.window_shape[0] is None else 0
            found = export(method, content, source, path, "onnx", length)
            written = OnnxNetwork(path, threads=1)
        times = [(found.seconds, found.torch_seconds)]
        walk = made_up_windows(method, content, 1, found.info.frames)
        networks = partial(of_onnx, written), method.told
        with torch.no_grad():
            times += [walk_times(networks, walk)[:2] for _ in range(given.repeats - 1)]
        onnx, plain = map(min, zip(*times, strict=True))
        weights = sum(weight.numel() for weight in method.parameters()) / 1e6
        size = "" if found.largest <= 1 else f" of {found.largest:.0f}"
        print(
            f"| {name} | {weights:.2f} M | {found.info.frames} | {found.difference:.0e}{size} | "
            f"{1e3 * onnx:.1f} | {1e3 * plain:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
