"""Networks that SGE-LA's program has written: TensorFlow checkpoints, one of each axis.

Source of the format: the authors' program of Rao et al. 2020, arXiv 2008.09435, and of 2021, arXiv
2009.03671.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaitbench.backbones.gait_encoder import AgeClassifier, GaitEncoder
from gaitbench.errors import InputError
from gaitbench.published.network import Published
from gaitbench.readers.encodings import EncodingShape
from gaitbench.readers.tf_checkpoint import read_tf_checkpoint
from gaitbench.skeleton import BODY14, KINECT20, KINECT25

Variables = Mapping[str, NDArray[np.float32]]

ORIGIN, AXES, FRAMES = "SGE-LA", 3, 6
LAYOUTS = {layout.num_joints: layout for layout in (BODY14, KINECT20, KINECT25)}
"""Layouts that were published with, by their number of joints."""

_ENCODER = "rnn/multi_rnn_cell"
_DECODER = "decode/decoder/Attention_Wrapper"

ENCODER = {
    **{
        f"{part}.{layer}.{kind}": f"{scope}/cell_{layer}/lstm_cell/{kind}"
        for part, scope in (("encoder", _ENCODER), ("decoder", f"{_DECODER}/multi_rnn_cell"))
        for layer in (0, 1)
        for kind in ("kernel", "bias")
    },
    "memory.weight": "memory_layer/kernel",
    "attention.weight": f"{_DECODER}/attention_layer/kernel",
    "output.weight": "decode/decoder/dense/kernel",
    "output.bias": "decode/decoder/dense/bias",
}
"""Weights of :class:`GaitEncoder` and the variables that hold them.

The program's ``lstm_weights_layer_1`` and ``lstm_weights_layer_2`` are used nowhere but in its L2
term and have no counterpart.
"""

PROJECTION = {
    "hidden.weight": "W1",
    "hidden.bias": "b1",
    "output.weight": "W",
    "output.bias": "Variable",
}
"""The same of :class:`ContextProjection` and, transposed, of :class:`AgeClassifier`."""


def encoder_weights(axes: Sequence[Variables]) -> dict[str, Tensor]:
    """State of a :class:`GaitEncoder` from the variables of each axis.

    Raises:
        KeyError: if a variable is missing.
    """
    return _side_by_side(axes, ENCODER)


def projection_weights(axes: Sequence[Variables]) -> dict[str, Tensor]:
    """State of a :class:`ContextProjection` from the variables of each axis.

    Raises:
        KeyError: if a variable is missing.
    """
    return _side_by_side(axes, PROJECTION)


def classifier_weights(variables: Variables) -> dict[str, Tensor]:
    """State of an :class:`AgeClassifier`.

    Raises:
        KeyError: if a variable is missing.
    """
    return {
        name: torch.from_numpy(np.array(variables[there], np.float32).T.copy())
        for name, there in PROJECTION.items()
    }


def read_encoder(paths: Sequence[Path]) -> GaitEncoder:
    """The network in the checkpoints of all axes.

    Args:
        paths: of x, y and z, as :func:`read_tf_checkpoint` takes them.

    Raises:
        InputError: if a checkpoint holds no such network, or they do not fit each other.
    """
    return _encoder(paths, [read_tf_checkpoint(path) for path in paths])


def read_classifier(path: Path) -> AgeClassifier:
    """The recognition network in a checkpoint.

    Raises:
        InputError: if it holds none.
    """
    return _classifier(path, read_tf_checkpoint(path))


def published_encoder(paths: Sequence[Path], frames: int | None = None) -> Published:
    """The network in the checkpoints of all axes, as a method's settings and weights.

    Args:
        paths: see :func:`read_encoder`.
        frames: T of its windows, which no variable tells; if not given 6, which a remark tells.

    Raises:
        InputError: as there, and if no known layout has so many joints.
    """
    found = [read_tf_checkpoint(path) for path in paths]
    network = _encoder(paths, found)
    hidden, joints = found[0][ENCODER["output.weight"]].shape
    if joints not in LAYOUTS:
        known = ", ".join(f"{layout.name} of {count}" for count, layout in LAYOUTS.items())
        raise InputError(
            f"{paths[0]} draws {joints} joints, known are {known}; take a network of BIWI, "
            "IAS-Lab, KGBD, KS20 or CASIA-B"
        )
    remarks = [
        *(
            ()
            if frames
            else (f"no variable tells the frames of its windows; {FRAMES} are assumed",)
        ),
        "no variable tells whether its attention was bound to the locality; that changes its "
        "training alone",
    ]
    unmatched = sorted({name for variables in found for name in _unmatched(variables, ENCODER)})
    settings = {"hidden": hidden, "frames": frames or FRAMES}
    return Published(ORIGIN, settings, LAYOUTS[joints], network.state_dict(), unmatched, remarks)


def published_classifier(path: Path, frames: int | None = None) -> Published:
    """The recognition network in a checkpoint, as a method's settings and weights.

    Args:
        path: see :func:`read_classifier`.
        frames: T of the encodings, which no variable tells; if not given 6, which a remark tells.

    Raises:
        InputError: as there, and if it does not take encodings of three axes.
    """
    remarks = []
    if frames is None:
        frames = FRAMES
        remarks.append(f"no variable tells the frames of the encodings; {frames} are assumed")
    variables = read_tf_checkpoint(path)
    network = _classifier(path, variables)
    subjects, hidden = network.output.weight.shape
    # in the program one number is the width of all layers
    of_sequences = frames > 1 and network.hidden.in_features == AXES * frames * hidden
    manner = "sc" if of_sequences else "ap"
    width, rest = divmod(network.hidden.in_features, AXES * (frames if manner == "sc" else 1))
    if rest:
        raise InputError(
            f"{path} takes {network.hidden.in_features} values, which are no encodings of "
            f"{AXES} axes; take a recognition network of SGE-LA"
        )
    settings = {
        "skeleton": EncodingShape(frames, AXES, width).name,
        "num_subjects": subjects,
        "manner": manner,
        "hidden": hidden,
    }
    unmatched = _unmatched(variables, PROJECTION)
    return Published(ORIGIN, settings, KINECT20, network.state_dict(), unmatched, remarks)


def _unmatched(variables: Variables, known: Mapping[str, str]) -> list[str]:
    """Variables that are neither weights nor the state of their training."""
    training = {"learning_rate", "global_step"}
    return [
        name
        for name in variables
        if name not in known.values()
        and name not in training
        and not name.endswith(("beta1_power", "beta2_power"))
        and not re.search(r"/Adam\d*(_\d+)?$", name)
    ]


def _encoder(paths: Sequence[Path], found: Sequence[Variables]) -> GaitEncoder:
    for path, variables in zip(paths, found, strict=True):
        for name in ENCODER.values():
            if name not in variables:
                raise InputError(
                    f"{path} holds no gait encoder: it lacks {name}; name what SGE-LA's program "
                    "keeps in Models/Gait_Encoding_models"
                )
            if variables[name].shape != found[0][name].shape:
                raise InputError(
                    f"{path} has {name} of shape {variables[name].shape}, but {paths[0]} of shape "
                    f"{found[0][name].shape}; name the three axes of one training"
                )
    hidden, joints = found[0][ENCODER["output.weight"]].shape
    network = GaitEncoder(joints, hidden, axes=len(paths))
    _load(network, encoder_weights(found), paths[0])
    return network


def _classifier(path: Path, variables: Variables) -> AgeClassifier:
    for name in PROJECTION.values():
        if name not in variables:
            raise InputError(
                f"{path} holds no recognition network: it lacks {name}; name what SGE-LA's program "
                "keeps in Models/AGEs_RN_models"
            )
    weights = classifier_weights(variables)
    subjects, hidden = weights["output.weight"].shape
    network = AgeClassifier(weights["hidden.weight"].shape[1], subjects, hidden)
    _load(network, weights, path)
    return network


def _side_by_side(axes: Sequence[Variables], names: Mapping[str, str]) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(np.stack([np.asarray(axis[there], np.float32) for axis in axes]))
        for name, there in names.items()
    }


def _load(network: torch.nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    for name, own in network.state_dict().items():
        if weights[name].shape != own.shape:
            raise InputError(
                f"{path} has {name} of shape {tuple(weights[name].shape)} where its other weights "
                f"ask for {tuple(own.shape)}; it is of another program"
            )
    network.load_state_dict(dict(weights))
