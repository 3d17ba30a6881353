"""SGE-LA against the numbers of the authors' program, of which tests hold a part.

    python benchmarks/golden_sgela.py FOLDER

FOLDER holds ``ged_*.npz``, networks of one axis and what they make of an input; ``rn_*.npz``, the
recognition networks that were published; ``npy_dataset``, two small sets as the authors prepared
them, and ``pipeline_expected.npz``, encoders and the encodings that their program takes from these
sets in batches of 8. Prints one line of JSON with the largest difference of each, and ends with
status 1 if one is above 2e-5.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaitbench.backbones.gait_encoder import AgeClassifier, DecoderInput, GaitEncoder
from gaitbench.callbacks import write_predictions
from gaitbench.datamodules import Biwi, Encodings, IasLab
from gaitbench.published.sgela import classifier_weights, encoder_weights

TOLERANCE = 2e-5
SETS = {"BIWI": (Biwi, {"test": "test"}), "IAS": (IasLab, {"A": "test", "B": "testB"})}
BATCH = 8


def loaded(path: Path) -> dict[str, Any]:
    """All arrays of a file."""
    with np.load(path, allow_pickle=False) as file:
        return {
            name: file[name].astype(np.float32) if file[name].dtype == np.float16 else file[name]
            for name in file
        }


def part(data: dict[str, Any], begin: str) -> dict[str, Any]:
    """Arrays whose names begin so, by the rest of their names."""
    return {name[len(begin) :]: value for name, value in data.items() if name.startswith(begin)}


def distance(found: Tensor, expected: NDArray[Any]) -> float:
    """Largest difference, as a share of the largest number where that is above 1."""
    return float((found - torch.from_numpy(expected)).abs().max()) / max(1, abs(expected).max())


def of_axis(path: Path) -> dict[str, float]:
    """What a network of one axis makes of its input."""
    data = loaded(path)
    _, joints, hidden, *_ = data["meta"].tolist()
    fed: DecoderInput = "shifted_target" if path.stem.endswith("shifted") else "zeros"
    network = GaitEncoder(joints, hidden, axes=1, decoder_input=fed)
    network.load_state_dict(encoder_weights([part(data, "state/")]))
    frames, target = (torch.from_numpy(data[f"in/{name}"])[..., None] for name in "xy")
    out = network(frames, target)
    return {
        "attention": distance(out.alignments[0].transpose(0, 1), data["out/attention"]),
        "context": distance(out.contexts[0], data["out/context"]),
        "train_outputs": distance(out.outputs[..., 0], data["out/train_outputs"]),
    }


def of_recognition(path: Path) -> dict[str, float]:
    """What a published recognition network makes of its input."""
    data = loaded(path)
    weights = classifier_weights(part(data, "state/"))
    network = AgeClassifier(768, len(weights["output.bias"]))
    network.load_state_dict(weights)
    logits = network(torch.from_numpy(data["in/age_frames"]))
    return {"logits": distance(logits, data["out/logits"])}


def of_pipeline(folder: Path, cache: Path) -> dict[str, float]:
    """Encodings of whole sets, in the rows and the order in which the authors' program has them."""
    data, found = loaded(folder / "pipeline_expected.npz"), {}
    states = [part(data, f"state/{axis}/") for axis in "xyz"]
    network = GaitEncoder(20, len(states[0]["memory_layer/kernel"]))
    network.load_state_dict(encoder_weights(states))
    for name, (kind, parts) in SETS.items():
        source = kind(
            str(folder / "npy_dataset"), cache=str(cache), predict="all", eval_batch_size=1000
        )
        source.prepare_data()
        source.setup("predict")
        (batch,) = source.predict_dataloader()
        encodings = network(batch.frames, batch.frames.flip(1)).of_sequences
        write_predictions(cache / name, encodings.numpy(), source.sequences)
        taken = Encodings(str(cache / name), legacy_batching=True, batch_size=BATCH)
        taken.setup("fit")
        rows = {"train": taken.rows["train"]}
        condition = taken.table["condition"].to_numpy(str)
        test = taken.rows["test"]
        rows |= {there: test[condition[test] == own] for own, there in parts.items()}
        for there, own in rows.items():
            value = torch.from_numpy(taken.values[0][own].reshape(len(own), -1))
            found[f"{name}/{there}"] = distance(value, data[f"{name}_sc/{there}_age"])
    return found


@torch.no_grad()
def main() -> int:
    """Compare; 1 if something differs too much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    found = {path.stem: of_axis(path) for path in sorted(folder.glob("ged_*.npz"))}
    found |= {name: of_recognition(folder / f"{name}.npz") for name in ("rn_biwi", "rn_ias")}
    with tempfile.TemporaryDirectory() as cache:
        found["pipeline"] = of_pipeline(folder, Path(cache))
    print(json.dumps({"name": "golden sgela", "unit": "largest difference", **found}))
    above = [
        f"{a} {b} {c}" for a, told in found.items() for b, c in told.items() if not c <= TOLERANCE
    ]
    for line in above:
        print(f"above tolerance: {line}", file=sys.stderr)
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
