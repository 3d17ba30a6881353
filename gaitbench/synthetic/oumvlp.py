"""Invented people in the format of OUMVLP-Pose: a tree of JSON files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from gaitbench.errors import InputError
from gaitbench.oumvlp import FOLDER, ID_LIST, IMAGE, KEYPOINTS, NUMBERS, SUBJECTS, VIEWS
from gaitbench.skeleton import OPENPOSE18
from gaitbench.synthetic.cameras import Camera, Detector, detect
from gaitbench.synthetic.people import Array, Subject, walk
from gaitbench.synthetic.trees import tree_written_whole

# How far apart joints are (people are some 280 px tall) and how high in the image they lie follow
# the statistics that the published network was trained on.
CAMERA = Camera(view=0, distance=8.0, height=0.9, focal=1325.0, image=IMAGE)
PATH, MAX_FRAMES = 1.35, 35
"""Metres and frames of a walk; about 18 to 35 frames."""

DETECTORS: Mapping[str, Detector] = MappingProxyType(
    {
        "openpose": Detector(jitter=0.7, drift=0.7, offset=0.9, drop_rate=0.006, miss_rate=0.012),
        "alphapose": Detector(jitter=0.4, drift=0.4, offset=0.6, drop_rate=0.002),
    }
)
"""How each estimator errs. People are twice as tall here as in CASIA-B's images, which leaves
AlphaPose about half of the usual error for their size; OpenPose errs more, as published figures
suggest. The rest is a guess."""

LOST = 0.3  # joints that are less sure are not reported
ABSENT = 0.01  # share of recordings that are missing
ACCOMPANIED = 0.05  # share of recordings in which somebody else is seen for a while


def synthesize_oumvlp(
    out: Path,
    subjects: int,
    seed: int,
    *,
    keypoints: Sequence[str] = KEYPOINTS,
    views: Sequence[int] = VIEWS,
    detectors: Mapping[str, Detector] = DETECTORS,
) -> Path:
    """Write invented people in the format of OUMVLP-Pose.

    The cameras see a walk forth from 0 to 90 degrees and the walk back from 180 to 270, and both
    estimators see the same walks. People of odd number train, the others are tested. What subject
    k does depends on the seed and on k, not on how many others there are, and the same arguments
    give the same bytes.

    Args:
        out: folder; made if it is not there.
        subjects: how many people, numbered from 1.
        seed: of everything drawn.
        keypoints: the estimators, a folder each.
        views: degrees.
        detectors: how each of them errs.

    Returns:
        ``out/OUMVLP-Pose``, which is there whole or not at all.

    Raises:
        InputError: if the number of subjects is not 2 to 10,307, the folder is there already or
            cannot be written.
    """
    if not 2 <= subjects <= len(SUBJECTS):
        raise InputError(
            f"subjects is {subjects}, but OUMVLP-Pose has 1 to {len(SUBJECTS)} and both sides of "
            f"its split need one; choose 2 to {len(SUBJECTS)}"
        )
    tree = Path(out) / FOLDER
    with tree_written_whole(tree) as beside:
        names = SUBJECTS[:subjects]
        _write_id_list(beside / ID_LIST, names)
        for name in names:
            for folder, recording in _recordings(name, seed, keypoints, views, detectors):
                _write_recording(beside / folder, recording)
    return tree


def _write_id_list(path: Path, names: Sequence[str]) -> None:
    pairs = zip_longest(names[::2], names[1::2], fillvalue="")
    lines = ["training,test", *(f"{a.lstrip('0')},{b.lstrip('0')}" for a, b in pairs)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


Recording = dict[str, list[Array]]
"""File name -> poses (18, 3) of the people in that frame, in the order in which they are listed."""


def _recordings(
    name: str,
    seed: int,
    keypoints: Sequence[str],
    views: Sequence[int],
    detectors: Mapping[str, Detector],
) -> Iterator[tuple[Path, Recording]]:
    """Folder within the tree and content of everything that there is of one subject."""
    number = int(name)
    person = Subject.draw((seed, number))
    for repeat in NUMBERS:
        for back in (False, True):
            occasion = (seed, number, 1 + back, 1 + repeat)
            joints = walk(person, "nm", occasion, path=PATH, max_frames=MAX_FRAMES)
            passer_by = _passer_by((*occasion, 0), len(joints))
            for view in (v for v in sorted(views) if (v >= 180) == back):
                rng = np.random.default_rng((*occasion, view + 1))
                camera = replace(CAMERA, view=view).placed(rng)
                if rng.random() < ABSENT:
                    continue
                first = int(rng.integers(10, 60))  # the recording's first frame with the walker
                accompanied = rng.random() < ACCOMPANIED
                for kind in keypoints:
                    # each estimator errs on its own, whichever others are asked for
                    own = np.random.default_rng((*occasion, view + 1, KEYPOINTS.index(kind)))
                    detector = detectors[kind]
                    seen = [_seen(joints, camera, own, detector)]
                    if accompanied:
                        stretch = range(*np.sort(own.integers(0, len(joints) + 1, 2)))
                        other = _seen(passer_by, camera, own, detector)
                        other = {frame: other[frame] for frame in stretch if frame in other}
                        seen.insert(int(own.integers(2)), other)  # listed first or last
                    recording = {
                        _file_name(name, view, repeat, first + frame): [
                            people[frame] for people in seen if frame in people
                        ]
                        for frame in range(len(joints))
                    }
                    yield Path(kind, name, f"{view:03d}_{repeat:02d}"), recording


def _passer_by(seed: Sequence[int], frames: int) -> Array:
    """Somebody else, behind or before the walker and a little apart."""
    rng = np.random.default_rng(seed)
    joints = walk(Subject.draw(seed), "nm", seed, path=PATH + 1, max_frames=frames)
    apart = rng.choice([-1, 1], 2) * rng.uniform((0.3, 0.8), (0.8, 1.5))
    return np.asarray(joints + np.append(apart, 0))


def _seen(
    joints: Array, camera: Camera, rng: np.random.Generator, detector: Detector
) -> dict[int, Array]:
    """Frame, counted from 0, to pose, for frames in which the person is found."""
    poses, frames = detect(joints, camera, "nm", rng, detector, OPENPOSE18)
    poses[poses[..., 2] < LOST] = 0
    return dict(zip((frames - 1).tolist(), poses.round(3), strict=True))


def _file_name(subject: str, view: int, repeat: int, frame: int) -> str:
    if subject == SUBJECTS[0]:  # whose files were named before the others'
        return f"{subject}-{repeat:02d}_{view:03d}-{frame:04d}.json"
    return f"{frame:04d}_keypoints.json"


def _write_recording(folder: Path, recording: Recording) -> None:
    folder.mkdir(parents=True)
    for name, people in recording.items():
        content: dict[str, Any] = {
            "version": 1.2,
            "people": [
                {
                    "person_id": [-1],
                    "pose_keypoints_2d": pose.ravel().tolist(),
                    "face_keypoints_2d": [],
                }
                for pose in people
            ],
        }
        (folder / name).write_bytes(json.dumps(content).encode())
