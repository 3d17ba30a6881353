"""Invented people in the format of FVG's poses."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from gaitbench.errors import InputError
from gaitbench.fvg import ANNOTATIONS, NUMBERS, SESSION_SUBJECTS, SUBJECTS, TRAIN_SUBJECTS
from gaitbench.skeleton import OPENPOSE18
from gaitbench.synthetic.annotated import Row, normalised, write_annotated, write_labels
from gaitbench.synthetic.cameras import Camera, Detector, detect
from gaitbench.synthetic.people import Array, Subject, scaled, walk
from gaitbench.synthetic.traits import Traits, shaped
from gaitbench.synthetic.trees import tree_written_whole

FOLDER, LABELS = "FVG", "labels.csv"
VIEWS = (-45, 0, 45)
"""Degrees at which somebody walks towards the camera; a condition has a video of each, and the
second of three, whose view is 0, is the gallery's."""

CONDITIONS = MappingProxyType(
    {
        1: ("normal", "fast", "slow", "bag"),
        2: ("normal", "fast", "clothes", "background"),
        3: ("normal", "fast", "clothes", "bag"),
    }
)
"""Session -> the condition of each three videos. Bag, clothes and background are where the
protocols have them; that speeds are fast and slow, and what the third session holds, is a guess."""

SPEEDS = MappingProxyType({"fast": (1.15, 1.1), "slow": (0.86, 0.9)})
"""Condition -> factors of cadence and of the swing of the limbs."""

DRESS = MappingProxyType({"bag": "bg", "clothes": "cl"})
"""Condition -> what `walk` and `detect` call it; ``nm`` for the others."""

CAMERA = Camera(view=0, distance=9.0, focal=1200, image=(1920, 1080))
PATH, MAX_FRAMES = 6.0, 110
DETECTOR = Detector(jitter=0.5, drift=0.5, offset=0.7, drop_rate=0.002)
CLUTTERED = Detector(jitter=0.8, drift=0.9, offset=0.9, drop_rate=0.008, miss_rate=0.03)
"""How the pose estimator errs, and how before a cluttered background; a guess."""


def fvg_subjects(count: int) -> list[str]:
    """Subjects on both sides of FVG's 136/90 split: 60 % from 1 up, the others from 137 up.

    Of these others half come from those of session 2, as long as they are at least two, so that
    all protocols have probes.

    Raises:
        InputError: if there are fewer than 2 or more than 226.
    """
    most = len(SUBJECTS)
    if not 2 <= count <= most:
        raise InputError(
            f"subjects is {count}, but FVG has 1 to {most} and both sides of its split need one; "
            f"choose 2 to {most}"
        )
    train = round(0.6 * count)
    early = [name for name in SUBJECTS[len(TRAIN_SUBJECTS) :] if name in SESSION_SUBJECTS[1]]
    late = [name for name in SUBJECTS[len(TRAIN_SUBJECTS) :] if name in SESSION_SUBJECTS[2]]
    test = count - train
    some = max(min(len(early), (test + 1) // 2), test - len(late))
    return [*TRAIN_SUBJECTS[:train], *early[:some], *late[: test - some]]


def synthesize_fvg(out: Path, subjects: int, seed: int) -> Path:
    """Write invented people in the format of FVG's poses.

    Everybody walks twelve times a session, towards the camera: each condition from three sides.
    What a subject does depends on the seed and on its number, not on how many others there are, and
    the same arguments give the same bytes.

    Args:
        out: folder; made if it is not there.
        subjects: how many people; who they are says `fvg_subjects`.
        seed: of everything drawn.

    Returns:
        ``out/FVG``, which is there whole or not at all; y grows upwards in its files. Its
        ``labels.csv`` says who is a woman, by which body and gait differ.

    Raises:
        InputError: if the number of subjects is not 2 to 226, the folder is there already or cannot
            be written.
    """
    names = fvg_subjects(subjects)
    tree = Path(out) / FOLDER
    people = {name: _person(name, seed) for name in names}
    with tree_written_whole(tree) as beside:
        subjects_of = {name: subject for name, (subject, _) in people.items()}
        write_annotated(beside, ANNOTATIONS, _videos(subjects_of, seed))
        write_labels(beside / LABELS, {name: female for name, (_, female) in people.items()})
    return tree


def _person(name: str, seed: int) -> tuple[Subject, bool]:
    """A subject, and whether it is a woman."""
    rng = np.random.default_rng((seed, int(name), 0))
    traits = replace(Traits.draw(rng), condition="nm", backpack=False, dress=False)
    return shaped(Subject.draw((seed, int(name))), traits), traits.female


def _videos(people: Mapping[str, Subject], seed: int) -> Iterator[tuple[Row, Array]]:
    folder = ANNOTATIONS.rpartition("/")[0]
    for name, subject in people.items():
        for session, present in SESSION_SUBJECTS.items():
            for number in NUMBERS if name in present else ():
                row: Row = {
                    "file_name": f"{folder}/poses/{name}_{session}_{number:02d}.npy",
                    "track_id": int(name),
                    "session_id": session,
                    "run_id": number,
                }
                yield row, _video(subject, (seed, int(name), session, number))


def _video(subject: Subject, occasion: tuple[int, int, int, int]) -> Array:
    """Poses (T, 18, 3)."""
    _, _, session, number = occasion
    rng = np.random.default_rng((*occasion, 1))
    condition = CONDITIONS[session][(number - 1) // len(VIEWS)]
    dress = DRESS.get(condition, "nm")
    joints = walk(_paced(subject, condition), dress, occasion, path=PATH, max_frames=MAX_FRAMES)
    camera = replace(CAMERA, view=VIEWS[(number - 1) % len(VIEWS)]).placed(rng)
    detector = CLUTTERED if condition == "background" else DETECTOR
    poses, _ = detect(joints, camera, dress, rng, detector, OPENPOSE18)
    return normalised(poses, upwards=True)


def _paced(subject: Subject, condition: str) -> Subject:
    """Somebody who walks as fast as the condition asks for."""
    cadence, swing = SPEEDS.get(condition, (1.0, 1.0))
    gait = subject.gait
    sided = {name: scaled(curves, swing) for name, curves in gait.sided.items()}
    return replace(subject, gait=replace(gait, cadence=gait.cadence * cadence, sided=sided))
