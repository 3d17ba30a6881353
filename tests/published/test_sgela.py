"""Networks from the checkpoints of SGE-LA's program."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitbench.errors import InputError
from gaitbench.published.sgela import ENCODER, read_classifier, read_encoder
from tests.goldens import SGELA, golden, unpacked_folder
from tests.tf_writer import write_checkpoint

CHECKPOINT = unpacked_folder("tf1_checkpoint", SGELA)


def variables(hidden: int = 4, joints: int = 5, seed: int = 0) -> dict[str, Any]:
    """Those of the training program, some of its optimiser's among them."""
    rows = {"encoder.0": joints + hidden, "decoder.0": joints + 2 * hidden}
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "memory.weight": (hidden, hidden),
        "attention.weight": (2 * hidden, hidden),
        "output.weight": (hidden, joints),
        "output.bias": (joints,),
    }
    for cell in ("encoder.0", "encoder.1", "decoder.0", "decoder.1"):
        shapes[f"{cell}.kernel"] = (rows.get(cell, 2 * hidden), 4 * hidden)
        shapes[f"{cell}.bias"] = (4 * hidden,)
    found = {ENCODER[name]: random.normal(size=shape) for name, shape in shapes.items()}
    found |= {"memory_layer/kernel/Adam": np.zeros((hidden, hidden))}
    found |= {"lstm_weights_layer_2": np.zeros(4 * hidden)}
    return {name: value.astype(np.float32) for name, value in found.items()}


def test_network_of_one_axis_is_the_one_that_tensorflow_wrote() -> None:
    data = golden("tf1_expected", SGELA)
    network = read_encoder([CHECKPOINT])
    x = torch.from_numpy(data["in/x"])[..., None]
    with torch.no_grad():
        out, free = network(x), network(x, decoder_input="free")
    for found, wanted in (
        (out.encoder_outputs[0], data["out/encoder_outputs"]),
        (out.alignments[0].transpose(0, 1), data["out/attention"]),
        (free.outputs[..., 0], data["out/free_outputs"]),
    ):
        assert np.allclose(found.numpy(), wanted, atol=2e-5)


def test_three_axes_become_one_network(tmp_path: Path) -> None:
    paths = [tmp_path / axis / "trained_model.ckpt" for axis in "xyz"]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        write_checkpoint(path, variables(seed=seed))
    network = read_encoder(paths)
    x = torch.randn(2, 6, 5, 3)
    with torch.no_grad():
        out = network(x)
        for axis, path in enumerate(paths):
            alone = read_encoder([path])(x[..., axis : axis + 1])
            assert torch.allclose(out.contexts[axis], alone.contexts[0], atol=1e-6)
            assert torch.allclose(out.outputs[..., axis], alone.outputs[..., 0], atol=1e-6)


def test_recognition_network_is_read(tmp_path: Path) -> None:
    data = golden("rn_train", SGELA)
    end = {name: data[f"BIWI_ap/end/{name}"] for name in ("W1", "b1", "W", "Variable")}
    write_checkpoint(tmp_path / "trained_model.ckpt", end | {"W/Adam3": end["W"]})
    network = read_classifier(tmp_path)
    with torch.no_grad():
        logits = network(torch.from_numpy(data["BIWI_ap/in/X"]))
    assert np.allclose(logits.numpy(), data["BIWI_ap/out/logits_end"], atol=1e-4)


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    small, large, odd = (tmp_path / name for name in ("small", "large", "odd"))
    write_checkpoint(small, variables())
    write_checkpoint(large, variables(hidden=6))
    write_checkpoint(odd, variables() | {"memory_layer/kernel": np.zeros((4, 3), np.float32)})
    with pytest.raises(InputError, match=r"large has .* \(9, 16\); name the three axes of one"):
        read_encoder([small, large])
    with pytest.raises(InputError, match=r"odd has memory.weight of shape \(1, 4, 3\) where"):
        read_encoder([odd])
    with pytest.raises(InputError, match="small holds no recognition network: it lacks W1"):
        read_classifier(small)
    write_checkpoint(tmp_path / "rn", {"W1": np.zeros((3, 2), np.float32)})
    with pytest.raises(InputError, match="rn holds no gait encoder: it lacks rnn/multi_rnn_cell"):
        read_encoder([tmp_path / "rn"])
