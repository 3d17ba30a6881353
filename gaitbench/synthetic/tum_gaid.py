"""Rendered people in the format of TUM-GAID's images, with true silhouettes and flow."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gaitbench.errors import InputError
from gaitbench.synthetic.cameras import Camera
from gaitbench.synthetic.figures import Build, Outfit, figure
from gaitbench.synthetic.films import Room, empty, film, write_flow, write_silhouettes
from gaitbench.synthetic.people import Subject, scaled, walk
from gaitbench.synthetic.trees import tree_written_whole
from gaitbench.tum_gaid import (
    BACKGROUNDS,
    FPS,
    IMAGE,
    IMAGES,
    LABELS,
    LISTS,
    NUMBERS,
    SUBJECTS,
    TWICE,
)
from gaitbench.workers import in_parallel

FOLDER = "TUM_GAID"
SILHOUETTES, FLOW = "silhouettes", "flow"
"""Folders in there that were never published."""

CAMERA = Camera(view=90, distance=3.9, height=1.0, focal=525, image=IMAGE)
"""About as a Kinect sees people who walk by."""

PATH, MAX_FRAMES = 4.4, 130
QUALITY = 92  # of JPEG
_BUILD, _OUTFIT, _COAT, _PACK, _NOBODY = range(1, 6)  # what is drawn of a person besides the gait

ALL_NUMBERS = MappingProxyType(
    {condition: [*first, *NUMBERS[2][condition]] for condition, first in NUMBERS[1].items()}
)
"""Condition -> numbers of its walks, of both sessions."""


class _Plan(NamedTuple):
    """What is written of everybody."""

    tree: Path
    seed: int
    sequences: Mapping[str, Sequence[int]]  # condition -> numbers of its walks
    first: tuple[str, int]  # condition and number of the walk that exact flow is told of
    with_flow: Sequence[str]  # of these subjects


def tum_gaid_split(count: int) -> dict[str, list[str]]:
    """Part of the split -> subjects, of numbers from 1 up.

    The even ones are tested; of the odd ones every third validates. So 16 of the 32 who are
    recorded twice are tested, as in the published lists, whose numbers are not known here.

    Raises:
        InputError: if there are fewer than 2 or more than 305.
    """
    if not 2 <= count <= len(SUBJECTS):
        raise InputError(
            f"subjects is {count}, but TUM-GAID has 1 to {len(SUBJECTS)} and both sides of its "
            f"split need one; choose 2 to {len(SUBJECTS)}"
        )
    names = SUBJECTS[:count]
    odd = names[::2]
    return {
        "train": [name for place, name in enumerate(odd) if place % 3 != 2],
        "validation": list(odd[2::3]),
        "test": list(names[1::2]),
    }


def synthesize_tum_gaid(
    out: Path,
    subjects: int,
    seed: int,
    *,
    sequences: Mapping[str, Sequence[int]] = ALL_NUMBERS,
    flow: int = 1,
) -> Path:
    """Write rendered people in the format of TUM-GAID's images.

    Everybody walks by, to the left in walks of odd number and to the right in the others. The first
    32 are recorded twice, in coats and months later in other clothes. What a subject does and looks
    like depends on the seed and on its number, not on how many others there are, and the same
    arguments give the same bytes. How the published images are called, but for their folders, is a
    guess.

    Args:
        out: folder; made if it is not there.
        subjects: how many people; who trains and who is tested says `tum_gaid_split`.
        seed: of everything drawn.
        sequences: condition -> numbers of its walks; those above 6 normal and 2 others are of the
            second session.
        flow: how many people's first walk is accompanied by its exact flow.

    Returns:
        ``out/TUM_GAID``, which is there whole or not at all: images as ``image/p001/n01/001.jpg``,
        the empty room as ``image/p001/back/background.jpg``, subjects of the split in ``labels``,
        silhouettes as ``silhouettes/p001/n01/001.png`` and exact flow as ``flow/p001-n01.npz`` with
        the arrays of :class:`gaitbench.synthetic.Flow`.

    Raises:
        InputError: if the number of subjects is not 2 to 305, the folder is there already or cannot
            be written.
    """
    split = tum_gaid_split(subjects)
    names = SUBJECTS[:subjects]
    tree = Path(out) / FOLDER
    with tree_written_whole(tree) as beside:
        for folder in (IMAGES, SILHOUETTES, FLOW, LABELS):
            (beside / folder).mkdir()
        for part, members in split.items():
            text = "".join(f"{int(name)}\n" for name in members)
            (beside / LABELS / LISTS[part]).write_text(text, encoding="ascii", newline="\n")
        first = next((condition, numbers[0]) for condition, numbers in sequences.items())
        plan = _Plan(beside, seed, dict(sequences), first, names[:flow])
        sessions = [(name, session) for name in names for session in NUMBERS
                    if session == 1 or name in TWICE]  # fmt: skip
        for _ in in_parallel(partial(_record, plan), sessions, "rendering images of TUM-GAID"):
            pass
    return tree


def _record(plan: _Plan, session_of: tuple[str, int]) -> None:
    """Write one session of one person."""
    name, session = session_of
    own = (plan.seed, int(name), 0, 0)
    person = Subject.draw((plan.seed, int(name)))
    build = Build.draw((*own, _BUILD))
    outfit = Outfit.draw((*own, _OUTFIT, session))
    if session == 1 and name in TWICE:  # in winter
        outfit = outfit.with_coat((*own, _COAT))
    outfits = {
        "n": outfit,
        "b": outfit.with_backpack((*own, _PACK)),
        "s": replace(outfit, overshoes=True),
    }
    place = (plan.seed, 0, 0, 0, session)  # the camera stays where it is while people come and go
    camera = CAMERA.placed(np.random.default_rng(place))
    room = Room(camera, (*place, 1))
    background = plan.tree / IMAGES / f"p{name}" / BACKGROUNDS[session]
    background.parent.mkdir(parents=True)
    nobody = np.random.default_rng((*own, _NOBODY, session))
    _write_image(background, empty(room, 1, nobody)[0])
    for condition, numbers in NUMBERS[session].items():
        for number in sorted({*numbers} & {*plan.sequences.get(condition, ())}):
            occasion = (plan.seed, int(name), 1 + list(NUMBERS[1]).index(condition), number)
            joints = walk(_burdened(person, condition), "nm", occasion, FPS, PATH, MAX_FRAMES)
            back = replace(camera, view=camera.view + 180 * (number % 2 == 0))
            with_flow = name in plan.with_flow and (condition, number) == plan.first
            recorded = film(
                figure(joints, person.body.stature, build, outfits[condition]),
                *(back, room, np.random.default_rng((*occasion, 1))),
                flow=with_flow,
            )
            folder = f"p{name}/{condition}{number:02d}"
            (plan.tree / IMAGES / folder).mkdir()
            for frame, image in enumerate(recorded.frames, 1):
                _write_image(plan.tree / IMAGES / folder / f"{frame:03d}.jpg", image)
            write_silhouettes(plan.tree / SILHOUETTES / folder, "", recorded.silhouettes)
            if recorded.flow is not None:
                write_flow(plan.tree / FLOW / f"{folder.replace('/', '-')}.npz", recorded.flow)


def _write_image(path: Path, image: NDArray[np.uint8]) -> None:
    Image.fromarray(image).save(path, quality=QUALITY)


def _burdened(person: Subject, condition: str) -> Subject:
    """Somebody who leans forward under a backpack, or takes care where to tread.

    How much is an assumption.
    """
    gait = person.gait
    sided, central = dict(gait.sided), dict(gait.central)
    if condition == "b":
        central["trunk_lean"] = scaled(central["trunk_lean"], mean=3)
        sided["shoulder"] = scaled(sided["shoulder"], 0.85)
    if condition == "s":
        for joint, swing in (("hip", 0.95), ("ankle", 0.85)):
            sided[joint] = scaled(sided[joint], swing)
    return replace(person, gait=replace(gait, sided=sided, central=central))
