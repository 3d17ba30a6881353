"""Exported networks of every method against PyTorch, at sizes that they were not checked with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.fuzzing.targets import TARGETS
from gaitbench import exporting, methods
from gaitbench.backbones import pose_graph, resgcn, stgcn
from gaitbench.errors import InputError
from gaitbench.exported import METADATA, ExportInfo, OnnxNetwork
from gaitbench.exporting import Format, Report, export, made_up_windows, trained_method
from gaitbench.methods import GaitMethod

SHALLOW = {"period": 4, "width": 8, "depth": 1, "heads": 2, "attribute_weight": 1.0}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer layers than any published network has, and no time measured twice."""
    monkeypatch.setattr(exporting, "MOST_RUNS", 1)
    monkeypatch.setattr(exporting, "DEFAULT_FRAMES", 8)
    monkeypatch.setitem(resgcn.STRUCTURES, "b11", (1, 1, 1, 1))
    for module in (stgcn, pose_graph):
        monkeypatch.setattr(module, "WIDTHS", (8, 8))
        monkeypatch.setattr(module, "HALVING", (1,))


def exported(
    name: str, settings: dict[str, Any], out: Path, how: Format = "onnx", tta: bool = False
) -> tuple[GaitMethod, Report]:
    """The method as trained_method gives it, whose file lies in ``out``."""
    torch.manual_seed(0)
    kind: type[GaitMethod] = getattr(methods, name)
    fresh = kind(**settings)
    for part in fresh.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    content: dict[str, Any] = {"state_dict": fresh.state_dict()}
    fresh.on_save_checkpoint(content)
    if name == "AgeRecognition":
        content["gaitbench"]["subjects"] = ["a", "b", "c"]
    source = out / "trained.ckpt"
    torch.save(content, source)
    settings = {
        key: value for key, value in settings.items() if key not in ("skeleton", "num_subjects")
    }
    method = trained_method(kind, settings, content, tta)
    suffix = "onnx" if how == "onnx" else "pt2"
    return method, export(method, content, source, out / f"network.{suffix}", how, 0)


@pytest.mark.parametrize(
    ("name", "settings", "tta"),
    [
        ("GaitGraph2", {"streams": "concatenated", "backbone": "st-gcn"}, True),
        # several branches: the checkpoint that test_tools_export.py exports
        ("GaitGraph", {"streams": "raw", "backbone": "resgcn-b11"}, False),
        ("GaitFormer", SHALLOW, True),
        ("GaitFormer", {"backbone": "st-gcn", "width": 8}, False),
        ("SGELA", {"frames": 2, "hidden": 4}, False),
        ("AgeRecognition", {"skeleton": "age-2x3x4", "num_subjects": 3, "hidden": 4}, False),
        ("GaitCopyTeacher", {"network": "3d-smallB", "embedding_dim": 4}, False),
        ("GaitCopyStudent", {"network": "2d-bmvc", "embedding_dim": 4}, False),
        ("GaitSet", {"embedding_dim": 62}, False),
    ],
)
def test_onnx_gives_what_torch_gives(
    name: str, settings: dict[str, Any], tta: bool, tmp_path: Path
) -> None:
    method, report = exported(name, settings, tmp_path, tta=tta)
    assert report.difference <= 1e-4
    assert report.largest > 0
    network = OnnxNetwork(tmp_path / "network.onnx")
    info = network.info
    assert info == report.info
    assert (info.method, info.skeleton, info.tta) == (name, method.skeleton, tta)
    assert len(info.checkpoint) == 64
    lengths = [info.frames, 5, 13] if info.any_length else [info.frames]
    assert info.any_length == (method.window_shape[0] is None)
    for batch, length in zip((1, 4, 2), lengths, strict=False):
        frames = made_up_windows(method, {}, batch, length)
        told = network(frames.numpy())
        assert tuple(told) == info.outputs
        assert told["embedding"].shape == (batch, info.embedding_dim)
        for key, value in method.told(frames).items():
            np.testing.assert_allclose(told[key], value.numpy(), atol=1e-4)
    with pytest.raises(ValueError, match="expected windows of"):
        network(np.zeros((1, info.frames, 2), np.float32))


def test_a_torch_export_archive_gives_the_same(tmp_path: Path) -> None:
    """With its description beside; nobody but torch reads it. As many layers as GaitFormer md."""
    deep = SHALLOW | {"depth": 8}
    method, report = exported("GaitFormer", deep, tmp_path, how="torch-export")
    beside = {f"{METADATA}.json": ""}
    program = torch.export.load(tmp_path / "network.pt2", extra_files=beside)
    assert ExportInfo.from_json(beside[f"{METADATA}.json"]) == report.info
    assert report.info.attributes == method.attribute_names
    frames = made_up_windows(method, {}, 5, 4)
    for value, wanted in zip(program.module()(frames), method.told(frames).values(), strict=True):
        torch.testing.assert_close(value, wanted, atol=1e-5, rtol=0)


def test_another_result_is_refused_and_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "largest_difference", lambda *_: (2e-4, 0.5))
    with pytest.raises(InputError, match=r"differs from PyTorch by 2\.0e-04"):
        exported("GaitFormer", SHALLOW, tmp_path, how="torch-export")
    assert [path.name for path in tmp_path.iterdir()] == ["trained.ckpt"]


def test_a_difference_counts_in_the_size_of_the_values() -> None:
    wanted = torch.tensor([[1.0, -200.0]])
    for found, difference in (
        (torch.tensor([[1.0, -200.5]]), 0.5),
        (torch.tensor([[1.0, torch.nan]]), float("inf")),
    ):
        given = exporting.largest_difference(
            lambda _: [wanted],
            lambda _, found=found: [found],
            [wanted],  # type: ignore[misc]
        )
        assert given == (difference, 200)


def test_what_a_method_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SGELA has no test-time augmentation"):
        exported("SGELA", {"frames": 2, "hidden": 4}, tmp_path, tta=True)


def test_other_files_are_no_networks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        OnnxNetwork(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(InputError, match="is no ONNX file, or a damaged one"):
        OnnxNetwork(tmp_path / "text.onnx")
    for text in ("", "[]", '{"method": "GaitSet"}'):
        with pytest.raises(ValueError, match=r"facts|Expecting"):
            ExportInfo.from_json(text)


def with_facts(folder: Path, **facts: Any) -> None:
    """Read a network of a matrix product that tells other facts of itself."""
    target = TARGETS["onnx"]
    (files,) = target.seeds()
    told = json.loads(files["facts.json"]) | facts
    for name, content in (files | {"facts.json": json.dumps(told).encode()}).items():
        (folder / name).write_bytes(content)
    target.read(folder)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, ""),
        ({"frame_kind": None, "attributes": []}, ""),
        ({"frames": 5}, "something else than it tells"),
        ({"frame_shape": [2, 3]}, "something else than it tells"),
        ({"outputs": ["embedding"]}, "something else than it tells"),
        ({"outputs": ["attributes"]}, "something else than it tells"),
        ({"embedding_dim": 9}, r"gives embeddings \(2, 8\) where it tells 9 values"),
        ({"frames": "4"}, "does not tell what it takes"),
        ({"frames": 0}, "does not tell what it takes"),
        ({"frames": True}, "does not tell what it takes"),
        ({"frames": 1 << 40}, "does not tell what it takes"),
        ({"normalisation": "much"}, "does not tell what it takes"),
        ({"frame_shape": 6}, "does not tell what it takes"),
        ({"attributes": [1]}, "does not tell what it takes"),
        ({"tta": None}, "does not tell what it takes"),
    ],
)
def test_facts_are_those_of_the_graph(facts: dict[str, Any], why: str, tmp_path: Path) -> None:
    if not why:
        with_facts(tmp_path, **facts)
        return
    with pytest.raises(InputError, match=why):
        with_facts(tmp_path, **facts)
