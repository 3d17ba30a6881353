"""Invented people before a Kinect, in the formats of BIWI RGBD-ID, IAS-Lab RGBD-ID and KGBD."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.kinect import (
    BIWI,
    BODIES,
    COLUMNS,
    IAS_LAB,
    KGBD,
    KGBD_JOINTS,
    KGBD_ORDER,
    POSITION,
    SKELETON_FILE,
    STATE,
    USER,
    KinectSet,
)
from gaitbench.skeleton import KINECT20
from gaitbench.synthetic.cameras import Camera, bursts, project
from gaitbench.synthetic.people import JOINTS, Array, Subject, drift, walk
from gaitbench.synthetic.trees import tree_written_whole

BIWI_SUBJECTS, BIWI_TESTED = 50, 28
IAS_SUBJECTS, KGBD_SUBJECTS, WALKS = 11, 164, 5

FPS = 10.0
"""About that of BIWI RGBD-ID."""

CAMERA = Camera(view=0, distance=3.2, height=1.0, focal=571, image=(640, 480))
"""A Kinect's depth camera."""

PATH, MAX_FRAMES = 2.4, 26
PAUSE = 4  # frames between two passes of a recording, in which nobody is tracked
PASSES = {
    "train": (0, 30, -30, 180),
    "walking": (0, 30, -30),
    "still": (0, 20),
    "A": (0, 30, -30),
    "B": (0, 30, -30),
}
"""Part of a set -> the views from which somebody is seen one after the other; a guess."""

STANDING = 30  # frames of a pass of somebody who stands
SHARE = 0.25, 0.05  # of the mean and of the swing of a walker's angles, where somebody stands

EDGE = 7  # the value that tells whether a body is cut off by the image's edge

_ALIKE = {"hip_center": "pelvis", "shoulder_center": "neck"}
_WALKERS = [JOINTS.index(_ALIKE.get(name, name)) for name in KINECT20.joints]
NITE = [
    KINECT20.joints.index(name.replace("wrist", "hand").replace("ankle", "foot"))
    if name != "hip_center"
    else 1
    for name in KINECT20.joints
]
"""What stands for each joint where the tracker knows 15: both lines of the trunk are one, hands and
feet stand for wrists and ankles."""


@dataclass(frozen=True)
class Tracker:
    """How the tracker of bodies errs; all of it is a guess.

    Args:
        jitter: metres of noise a frame.
        drift: metres of slow noise.
        dress: metres by which clothes misplace each joint.
        guess_rate: bursts of joints that are inferred, a joint and frame.
        guess: factor of the error of these.
        lose_rate: bursts of joints that are not tracked, a frame.
        stray_rate: bursts of a bystander who is tracked, too, a frame.
        zero_rate: joints of KGBD at no distance.
    """

    jitter: float = 0.006
    drift: float = 0.008
    dress: float = 0.012
    guess_rate: float = 0.004
    guess: float = 3.0
    lose_rate: float = 0.01
    stray_rate: float = 0.01
    zero_rate: float = 0.0001


TRACKER = Tracker()


def synthesize_biwi(out: Path, subjects: int, seed: int) -> Path:
    """Write invented people in the format of BIWI RGBD-ID.

    Each has a recording to train on; 28 of 50 have one walking and one standing nearly still, too,
    in other clothes. The tracker loses joints, and sometimes tracks a bystander. What a person does
    depends on the seed and its number alone, and the same arguments give the same bytes.

    Args:
        out: folder; made if it is not there.
        subjects: how many people.
        seed: of everything drawn.

    Returns:
        ``out/BIWI``, which is there whole or not at all.

    Raises:
        InputError: if the number of subjects is not 2 to 50, the folder is there already or cannot
            be written.
    """
    _refuse_number(subjects, BIWI_SUBJECTS, "BIWI RGBD-ID")
    tested = max(2, round(subjects * BIWI_TESTED / BIWI_SUBJECTS))
    tree = Path(out) / BIWI.name
    with tree_written_whole(tree) as beside:
        for number in range(subjects):
            for part in BIWI.parts if number < tested else ["train"]:
                stem = f"{number:03d}" + "b" * (part != "train")
                folder = beside / BIWI.parts[part] / f"{number:03d}"
                _write_frames(folder, stem, _recording(number, BIWI, part, seed), "-d")
    return tree


def synthesize_ias_lab(out: Path, subjects: int, seed: int) -> Path:
    """Write invented people in the format of IAS-Lab RGBD-ID.

    Everybody is recorded to train on, in other clothes (``A``) and elsewhere (``B``), by a tracker
    that knows 15 joints. See :func:`synthesize_biwi`.

    Returns:
        ``out/IAS``, which is there whole or not at all.

    Raises:
        InputError: if the number of subjects is not 2 to 11, the folder is there already or cannot
            be written.
    """
    _refuse_number(subjects, IAS_SUBJECTS, "IAS-Lab RGBD-ID")
    tree = Path(out) / IAS_LAB.name
    with tree_written_whole(tree) as beside:
        for number in range(subjects):
            for part in IAS_LAB.parts:
                frames = _recording(number, IAS_LAB, part, seed)[:, :1]
                frames[..., EDGE] = 0
                folder = beside / IAS_LAB.parts[part] / f"{number:03d}"
                _write_frames(folder, f"{number:03d}", frames, "")
    return tree


def synthesize_kgbd(out: Path, subjects: int, seed: int) -> Path:
    """Write invented people in the format of KGBD: everybody walks five times.

    See :func:`synthesize_biwi`.

    Returns:
        ``out/KGBD``, which is there whole or not at all.

    Raises:
        InputError: if the number of subjects is not 2 to 164, the folder is there already or cannot
            be written.
    """
    _refuse_number(subjects, KGBD_SUBJECTS, "KGBD")
    tree = Path(out) / KGBD.name
    lines = np.argsort(KGBD_ORDER)  # the joint that becomes each line
    with tree_written_whole(tree) as beside:
        for number in range(1, subjects + 1):
            folder = beside / KGBD.parts["walk"] / f"Person{number:03d}"
            folder.mkdir(parents=True)
            for time in range(1, WALKS + 1):
                poses = _kgbd_walk(number, time, seed)[:, lines]
                text = "".join(
                    f"{name};{x:.7g};{y:.7g};{z:.7g}\n"
                    for pose in poses.tolist()
                    for name, (x, y, z) in zip(KGBD_JOINTS, pose, strict=True)
                )
                (folder / f"{time}.txt").write_text(text, encoding="ascii", newline="\n")
    return tree


def _refuse_number(subjects: int, most: int, name: str) -> None:
    if not 2 <= subjects <= most:
        raise InputError(
            f"subjects is {subjects}, but {name} has {most} people, and telling them apart takes "
            f"two; choose 2 to {most}"
        )


def _person(number: int, seed: int) -> Subject:
    return Subject.draw((seed, number, 20))


def _standing(subject: Subject) -> Subject:
    """Somebody who stands and hardly moves."""
    gait = subject.gait
    mean, swing = SHARE

    def still(series: NDArray[np.complex128]) -> NDArray[np.complex128]:
        return np.concatenate([mean * series[..., :1], swing * series[..., 1:]], axis=-1)

    return replace(
        subject,
        gait=replace(
            gait,
            sided={name: still(curves) for name, curves in gait.sided.items()},
            central={name: still(curves) for name, curves in gait.central.items()},
        ),
    )


def _passes(
    subject: Subject, views: Iterable[int], occasion: tuple[int, ...], still: bool = False
) -> Iterator[tuple[Array, Camera]]:
    """Joints (T, 20, 3) before the camera, x right, y up, z away, pass by pass; and the camera."""
    for place, view in enumerate(views):
        rng = np.random.default_rng((*occasion, place, 1))
        camera = replace(CAMERA, view=view).placed(rng)
        frames = STANDING if still else MAX_FRAMES
        joints = walk(subject, "nm", (*occasion, place), FPS, PATH, frames)[:, _WALKERS]
        pixels, depth = project(joints, camera)
        middle = np.array(camera.image) / 2
        across = (pixels - middle) * [1, -1] * depth[..., None] / camera.focal
        yield np.concatenate([across, depth[..., None]], axis=-1), camera


def _kgbd_walk(number: int, time: int, seed: int) -> Array:
    """Poses (T, 20, 3) of a walk, whose path is a half circle; few joints are at no distance."""
    occasion = (seed, number, time)
    rng = np.random.default_rng((*occasion, 2))
    passes = _passes(_person(number, seed), range(-60, 61, 40), occasion)
    poses = np.concatenate([_erred(joints, rng)[0] for joints, _ in passes])
    poses[rng.random(poses.shape[:2]) < TRACKER.zero_rate, 2] = 0
    return poses


def _recording(number: int, data: KinectSet, part: str, seed: int) -> Array:
    """Bodies (T, 2, 20, 14) of one recording; zeros where nobody is tracked."""
    occasion = (seed, number, list(data.parts).index(part))
    rng = np.random.default_rng((*occasion, 2))
    clothes = int(part not in ("train", "B"))  # those of training are worn in the other room, too
    worn = np.random.default_rng((seed, number, clothes, 3))
    dress = TRACKER.dress * worn.normal(size=(KINECT20.num_joints, 3))
    subject, still = _person(number, seed), part == "still"
    layout = NITE if data == IAS_LAB else list(range(KINECT20.num_joints))
    found = []
    for joints, camera in _passes(
        _standing(subject) if still else subject, PASSES[part], occasion, still
    ):
        nobody = np.zeros((PAUSE, BODIES, *joints.shape[1:2], COLUMNS))
        found += [_tracked(joints + dress, camera, rng, layout), nobody]
    return np.concatenate(found[:-1])


def _tracked(joints: Array, camera: Camera, rng: np.random.Generator, layout: list[int]) -> Array:
    """What the tracker tells (T, 2, 20, 14) of a body (T, 20, 3) before the camera.

    Args:
        joints: of a walker who is alone.
        camera: before which.
        rng: of the errors.
        layout: the joint that stands for each of the 20.
    """
    place, inferred = _erred(joints, rng)
    frames, count = inferred.shape
    lost = bursts(rng, (frames,), TRACKER.lose_rate, longest=3)
    state = np.where(inferred, 1, 2)
    state[lost, rng.integers(count)] = 0
    place, state = place[:, layout], state[:, layout]

    bodies = np.zeros((frames, BODIES, count, COLUMNS))
    bodies[:, 0] = _lines(place, state, camera, user=1 + int(rng.integers(4)))
    stray = bursts(rng, (frames,), TRACKER.stray_rate, longest=8)
    aside = place[stray] + [1.0, 0.05, 0.8]
    bodies[stray, 1] = _lines(aside, np.full(aside.shape[:2], 2), camera, user=6)
    # who stands where in the file is by chance
    second = stray & (rng.random() < 0.5)
    bodies[second] = bodies[second, ::-1]
    return bodies


def _erred(joints: Array, rng: np.random.Generator) -> tuple[Array, NDArray[np.bool_]]:
    """Where the tracker has joints (T, 20, 3), and which of them (T, 20) it only infers."""
    frames, count = joints.shape[:2]
    inferred = bursts(rng, (count, frames), TRACKER.guess_rate, longest=6).T
    error = TRACKER.jitter * rng.normal(size=joints.shape)
    error += TRACKER.drift * np.moveaxis(drift(rng, (count, 3), frames, FPS), -1, 0)
    return joints + error * np.where(inferred, TRACKER.guess, 1)[..., None], inferred


def _lines(place: Array, state: NDArray[np.int64], camera: Camera, user: int) -> Array:
    """Lines (T, 20, 14) of bodies (T, 20, 3)."""
    width, height = camera.image
    depth = place[..., 2]
    u = width / 2 + camera.focal * place[..., 0] / depth
    v = height / 2 - camera.focal * place[..., 1] / depth
    outside = (u < 0) | (u > width - 1) | (v < 0) | (v > height - 1)
    parents = np.array(KINECT20.parents)
    # the shortest turn that lays the camera's y axis along the bone from the joint's parent
    bone = place - place[:, parents]
    length = np.linalg.norm(bone, axis=-1, keepdims=True)
    bone = np.where(length > 1e-6, bone / np.maximum(length, 1e-6), [0.0, 1.0, 0.0])
    turn = np.stack([bone[..., 2], np.zeros_like(depth), -bone[..., 0], 1 + bone[..., 1]], axis=-1)
    lines = np.zeros((*place.shape[:2], COLUMNS))
    lines[..., USER], lines[..., POSITION], lines[..., STATE] = user, place, state
    lines[..., 4], lines[..., 5] = u, v
    lines[..., EDGE] = outside.any(axis=1, keepdims=True)
    lines[..., 8], lines[..., 9] = parents, np.arange(len(parents))
    lines[..., 10:] = turn / np.maximum(np.linalg.norm(turn, axis=-1, keepdims=True), 1e-6)
    return lines


def _write_frames(folder: Path, stem: str, frames: Array, middle: str) -> None:
    """Write bodies (T, bodies, 20, 14), a file a frame; ``middle`` stands before the time."""
    folder.mkdir(parents=True)
    line = ",".join(["%.4f"] * frames.shape[-1]) + "\n"
    text = line * (frames.shape[1] * frames.shape[2])
    for number, bodies in enumerate(frames):
        time = round(1000 * number / FPS)
        name = f"{stem}_{number:06d}{middle}_{time}_{SKELETON_FILE}"
        content = text % tuple(bodies.ravel().tolist())
        (folder / name).write_text(content, encoding="ascii", newline="\n")
