"""Rendered people in the format of CASIA-B's videos, with true silhouettes and flow."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gaitbench.casia_b import NUMBERS, VIEWS
from gaitbench.errors import InputError
from gaitbench.synthetic.cameras import Camera
from gaitbench.synthetic.casia_b import casia_b_subjects
from gaitbench.synthetic.figures import Build, Outfit, figure
from gaitbench.synthetic.films import Room, empty, film, write_flow, write_silhouettes, write_video
from gaitbench.synthetic.people import Subject, walk
from gaitbench.synthetic.trees import tree_written_whole
from gaitbench.workers import in_parallel

FOLDER = "DatasetB"
VIDEOS, SILHOUETTES, FLOW = "video", "silhouettes", "flow"
"""Folders in there; what is in the last was never published."""

BACKGROUND = "bkgrd"
"""What stands for condition and number in the name of a video of the empty room."""

FPS, BIT_RATE = 25, 1_500_000
_BUILD, _OUTFIT, _COAT, _BAG, _NOBODY = range(1, 6)  # what is drawn of a person besides the gait


class _Plan(NamedTuple):
    """What is written of everybody."""

    tree: Path
    seed: int
    walks: Sequence[tuple[str, int]]  # condition and number; exact flow is told of the first
    with_flow: Sequence[int]  # of these people


def synthesize_casia_b_video(
    out: Path,
    subjects: int,
    seed: int,
    *,
    sequences: Mapping[str, Sequence[int]] = NUMBERS,
    views: Sequence[int] = VIEWS,
    flow: int = 1,
) -> Path:
    """Write rendered people in the format of CASIA-B's videos.

    All are recorded in one room. They walk as those of
    :func:`gaitbench.synthetic.synthesize_casia_b` do who have the same seed and number. They wear
    the same in all normal walks and those with a bag; coats are few, and shared. What subject k
    does and looks like depends on the seed and on k, not on how many others there are, and the same
    arguments give the same bytes.

    Args:
        out: folder; made if it is not there.
        subjects: how many people; numbered as by :func:`gaitbench.synthetic.casia_b_subjects`.
        seed: of everything drawn.
        sequences: condition -> numbers of its walks.
        views: degrees, of those of CASIA-B.
        flow: how many people's first walk, from all views, is accompanied by its exact flow.

    Returns:
        ``out/DatasetB``, which is there whole or not at all: ``video/001-nm-01-090.avi``, a
        second of the empty room as ``video/001-bkgrd-090.avi``, silhouettes as
        ``silhouettes/001/nm-01/090/001-nm-01-090-001.png`` and exact flow as
        ``flow/001-nm-01-090.npz`` with the arrays of :class:`gaitbench.synthetic.Flow`.

    Raises:
        InputError: if the number of subjects is not 2 to 124, there is no such view, the folder is
            there already or cannot be written.
    """
    if unknown := sorted(set(views) - set(VIEWS)):
        raise InputError(
            f"view {unknown[0]} is none of CASIA-B's; choose of {', '.join(map(str, VIEWS))}"
        )
    numbers = casia_b_subjects(subjects)
    walks = [(condition, repeat) for condition in sequences for repeat in sequences[condition]]
    tree = Path(out) / FOLDER
    with tree_written_whole(tree) as beside:
        for folder in (VIDEOS, SILHOUETTES, FLOW):
            (beside / folder).mkdir()
        plan = _Plan(beside, seed, walks, numbers[:flow])
        recordings = [(number, view) for number in numbers for view in sorted(set(views))]
        for _ in in_parallel(partial(_record, plan), recordings, "rendering videos of CASIA-B"):
            pass
    return tree


def _record(plan: _Plan, recording: tuple[int, int]) -> None:
    """Write all that one camera sees of one person."""
    number, view = recording
    own = (plan.seed, number, 0, 0)
    person = Subject.draw((plan.seed, number))
    build = Build.draw((*own, _BUILD))
    outfit = Outfit.draw((*own, _OUTFIT))
    outfits = {
        "nm": outfit,
        "bg": outfit.with_bag((*own, _BAG), person.bag_side),
        "cl": outfit.with_coat((*own, _COAT)),
    }
    place = (plan.seed, 0, 0, 0, view)  # cameras stay where they are while people come and go
    camera = Camera(view).placed(np.random.default_rng(place))
    room = Room(camera, (*place, 1))
    video = plan.tree / VIDEOS / f"{number:03d}-{BACKGROUND}-{view:03d}.avi"
    nobody = empty(room, FPS, np.random.default_rng((*own, _NOBODY, view)))
    write_video(video, nobody, FPS, BIT_RATE)
    for condition, repeat in plan.walks:
        occasion = (plan.seed, number, list(NUMBERS).index(condition) + 1, repeat)
        joints = walk(person, condition, occasion)
        with_flow = number in plan.with_flow and (condition, repeat) == plan.walks[0]
        recorded = film(
            figure(joints, person.body.stature, build, outfits[condition]),
            *(camera, room, np.random.default_rng((*occasion, view + 1))),
            flow=with_flow,
        )
        name = f"{number:03d}-{condition}-{repeat:02d}-{view:03d}"
        write_video(plan.tree / VIDEOS / f"{name}.avi", recorded.frames, FPS, BIT_RATE)
        folder = f"{number:03d}/{condition}-{repeat:02d}/{view:03d}"
        write_silhouettes(plan.tree / SILHOUETTES / folder, f"{name}-", recorded.silhouettes)
        if recorded.flow is not None:
            write_flow(plan.tree / FLOW / f"{name}.npz", recorded.flow)
