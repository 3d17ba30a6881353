"""Invented people in the format of DenseGait: tracklets with soft labels of appearance."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from gaitbench.densegait import ANNOTATIONS, VALIDATION, attribute_names
from gaitbench.errors import InputError
from gaitbench.skeleton import OPENPOSE18
from gaitbench.synthetic.annotated import Row, normalised, write_annotated
from gaitbench.synthetic.cameras import Camera, Detector, detect
from gaitbench.synthetic.people import Array, Subject, walk
from gaitbench.synthetic.traits import Traits, shaped
from gaitbench.synthetic.trees import tree_written_whole

FOLDER = "DenseGait"
DETECTOR = Detector(jitter=0.5, drift=0.5, offset=0.7, drop_rate=0.002, miss_rate=0)
"""AlphaPose on people of middling size, whose tracks have no gaps; a guess as the others are."""

LENGTHS = (30, 120)
"""Least and greatest number of frames of a tracklet."""

CAMERA = Camera(view=0, distance=12, focal=1200, image=(1920, 1080))
HEIGHTS = (1.0, 3.0)  # metres above the ground at which cameras hang
RATES: Mapping[str, float] = MappingProxyType(
    {
        "HandTrunk": 0.03, "OtherAttchment": 0.08, "Sandals": 0.02, "Shoes": 0.3,
        "LeatherShoes": 0.2, "SportShoes": 0.25, "Boots": 0.06, "Sneaker": 0.15,
        "ClothShoes": 0.05, "CasualWear": 0.85, "Jacket": 0.3, "FormalWear": 0.1,
        "CarryingOther": 0.06, "LongSleeve": 0.9, "Calling": 0.02, "Talking": 0.05,
        "Gathering": 0.06, "Holding": 0.08, "Pulling": 0.02, "CarryingbyArm": 0.06,
        "HoldObjectsInFront": 0.05,
    }
)  # fmt: skip
"""Attribute -> how often people have it, where nothing in the pose tells. Guesses that keep the
published order: sandals and calls are rare, long sleeves common."""

DOUBT, NOISE = 0.03, 1.6
"""How far labels of what is certain are from 0 and 1, and the spread of their error in logits. It
puts 1.5 % of them on the wrong side of one half."""


def soft_labels(traits: Traits, rng: np.random.Generator) -> dict[str, float]:
    """Attribute -> probability as fallible networks would give it, to four decimals.

    Attributes that no pose can tell are drawn at their rates, independently of everything.
    """
    names = attribute_names()
    drawn = {name: float(rng.random() < rate) for name, rate in RATES.items()}
    degrees = drawn | traits.degrees
    sure = np.clip([degrees[name] for name in names], DOUBT, 1 - DOUBT)
    logits = np.log(sure / (1 - sure)) + rng.normal(0, NOISE, len(names))
    probabilities = (1 / (1 + np.exp(-logits))).round(4)
    return dict(zip(names, probabilities.tolist(), strict=True))


def synthesize_densegait(out: Path, tracks: int, seed: int) -> Path:
    """Write invented people in the format of DenseGait, its validation set included.

    Each tracklet shows another person from another side. Labels are soft and wrong at times. The
    validation set has a fifth as many tracklets, of other people. What tracklet k shows depends on
    the seed and on k, not on how many others there are, and the same arguments give the same bytes.

    Args:
        out: folder; made if it is not there.
        tracks: tracklets to train on.
        seed: of everything drawn.

    Returns:
        ``out/DenseGait``, which is there whole or not at all; y grows downwards in its files.

    Raises:
        InputError: if there are fewer than 2 tracklets, the folder is there already or cannot be
            written.
    """
    if tracks < 2:
        raise InputError(
            f"subjects is {tracks}, but each tracklet of DenseGait is a subject of its own and no "
            "two are alike; choose 2 or more"
        )
    tree = Path(out) / FOLDER
    with tree_written_whole(tree) as beside:
        write_annotated(beside, ANNOTATIONS, _tracklets(ANNOTATIONS, tracks, (seed, 0)))
        write_annotated(beside, VALIDATION, _tracklets(VALIDATION, max(1, tracks // 5), (seed, 1)))
    return tree


def _tracklets(annotations: str, count: int, seed: tuple[int, ...]) -> Iterator[tuple[Row, Array]]:
    folder = annotations.rpartition("/")[0]
    for number in range(1, count + 1):
        poses, labels = _tracklet((*seed, number))
        file_name = f"{folder}/poses/{number:05d}.npy"
        yield {"file_name": file_name, "track_id": number, **labels}, poses


def _tracklet(seed: tuple[int, ...]) -> tuple[Array, dict[str, float]]:
    """Poses (T, 18, 3) and labels."""
    rng = np.random.default_rng((*seed, 1))
    traits = Traits.draw(rng)
    labels = soft_labels(traits, rng)
    frames = int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))
    camera = replace(CAMERA, view=traits.view, height=float(rng.uniform(*HEIGHTS)))
    person = shaped(Subject.draw((*seed, 2)), traits)
    joints = walk(person, traits.condition, (*seed, 3), path=np.inf, max_frames=frames)
    poses, _ = detect(joints, camera, traits.condition, rng, DETECTOR, OPENPOSE18)
    return normalised(poses, upwards=False), labels
