"""Invented people in the format of the published CASIA-B poses."""

from collections.abc import Mapping, Sequence
from io import BufferedWriter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from gaitbench.casia_b import COLUMNS, NUMBERS, SUBJECTS, TABLE, TRAIN_SUBJECTS, VIEWS
from gaitbench.errors import InputError
from gaitbench.files import written_whole
from gaitbench.synthetic.annotated import write_labels
from gaitbench.synthetic.cameras import Camera, Detector, detect
from gaitbench.synthetic.people import Array, Subject, walk

LABELS = "casia-b_labels.csv"
WIDE = 0.473
"""Distance of the hips over that of the shoulders, in the middle of these people."""


def casia_b_subjects(count: int) -> list[int]:
    """Subject numbers on both sides of CASIA-B's 74/50 split: 60 % from 1 up, the rest from 75 up.

    Raises:
        InputError: if there are fewer than 2 or more than 124.
    """
    most = len(SUBJECTS)
    if not 2 <= count <= most:
        raise InputError(
            f"subjects is {count}, but CASIA-B has 1 to {most} and both sides of its "
            f"split need one; choose 2 to {most}"
        )
    train = round(0.6 * count)
    first_test = len(TRAIN_SUBJECTS["74/50"]) + 1
    return [*range(1, train + 1), *range(first_test, first_test + count - train)]


def synthesize_casia_b(
    out: Path,
    subjects: int,
    seed: int,
    *,
    sequences: Mapping[str, Sequence[int]] = NUMBERS,
    views: Sequence[int] = VIEWS,
    detector: Detector | None = None,
) -> Path:
    """Write invented people in the format of the published CASIA-B poses.

    Every walk is seen by all cameras at once. What subject k does depends on the seed and on k,
    not on how many others there are, and the same arguments give the same bytes.

    Args:
        out: folder; made if it is not there.
        subjects: how many people; numbered as by `casia_b_subjects`.
        seed: of everything drawn.
        sequences: condition -> numbers of its walks.
        views: degrees.
        detector: how the pose estimator errs; the default one if none.

    Returns:
        ``out/casia-b_pose_coco.csv``: a header, then one row a frame, sorted by name. Beside it
        lies ``casia-b_labels.csv``, which calls those women whose hips are wide for their
        shoulders.

    Raises:
        InputError: if the number of subjects is not 2 to 124, a view is not 0 to 359, or the folder
            cannot be written.
    """
    if odd := [view for view in views if not 0 <= view < 360]:
        raise InputError(f"view {odd[0]} is no direction of a camera; give degrees from 0 to 359")
    numbers = casia_b_subjects(subjects)
    path = Path(out) / TABLE
    with written_whole(path) as beside, beside.open("wb") as file:
        file.write((",".join(COLUMNS) + "\n").encode())
        for number in numbers:
            _write_subject(file, number, seed, sequences, views, detector)
    bodies = {f"{number:03d}": Subject.draw((seed, number)).body for number in numbers}
    with written_whole(path.with_name(LABELS)) as beside:
        write_labels(
            beside,
            {
                name: body.hip_spacing / body.shoulder_spacing > WIDE
                for name, body in bodies.items()
            },
        )
    return path


def _write_subject(
    file: BufferedWriter,
    number: int,
    seed: int,
    sequences: Mapping[str, Sequence[int]],
    views: Sequence[int],
    detector: Detector | None,
) -> None:
    subject = Subject.draw((seed, number))
    conditions = list(NUMBERS)
    names: list[str] = []
    poses: list[Array] = []
    for condition in sorted(sequences):
        for repeat in sorted(sequences[condition]):
            occasion = (seed, number, conditions.index(condition) + 1, repeat)
            joints = walk(subject, condition, occasion)
            for view in sorted({*views}):
                rng = np.random.default_rng((*occasion, view + 1))
                camera = Camera(view).placed(rng)
                pose, frames = detect(joints, camera, condition, rng, detector)
                folder = f"./{number:03d}-{condition}-{repeat:02d}-{view:03d}/"
                names.extend(f"{folder}{frame:06d}.jpg" for frame in frames.tolist())
                poses.append(pose.reshape(len(pose), -1))
    # two decimals by looking each hundredth up in a table of strings: formatting floats one by
    # one would take most of the time
    hundredths = np.rint(np.concatenate(poses) * 100).astype(np.int32)
    texts = pa.array([f"{h / 100:.2f}" for h in range(int(hundredths.max()) + 1)])
    columns = [
        pa.DictionaryArray.from_arrays(pa.array(np.ascontiguousarray(column)), texts).cast("string")
        for column in hundredths.T
    ]
    table = pa.table([pa.array(names), *columns], [str(c) for c in range(1 + len(columns))])
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    pyarrow.csv.write_csv(table, file, options)
