"""CASIA-B: 124 people seen from eleven sides, as poses.

What: Dataset B of the CASIA Gait Database. 124 subjects walk ten times each (six times in plain
clothes ``nm``, twice with a bag ``bg``, twice in a coat ``cl``), filmed indoors at once from
eleven views, 0 to 180 degrees in steps of 18: 13,640 recordings of 320 x 240 pixels at 25 frames
a second.

Where from: the recordings are to be asked for at the Institute of Automation, Chinese Academy of
Sciences (CASIA), Center for Biometrics and Security Research; poses made from them were released
by the authors of GaitGraph as ``casia-b_pose_coco.csv``.

Licence: research only, under CASIA's release agreement, which forbids passing recordings on.

On disk: one comma-separated table, plain or gzipped, one row a frame, ``image_name`` and then x,
y and confidence of the 17 COCO joints, in pixels. ``image_name`` is
``./<subject>-<condition>-<number>-<view>/<frame>.jpg``; what stands before the folder does not
matter. Or GaitGraph's split files, ``casia-b_pose_train_valid.csv`` and
``casia-b_pose_test.csv`` (or ``train`` and ``valid`` apart), in one folder.

Splits: subjects 001-074 train and 075-124 test, the field's large-sample split ("74/50");
001-062 and 063-124 ("62/62"), as GaitFormer has it; or 001-099 and 100-124 ("99/25"), as it has it
to tell women from men.

Known gaps: frames in which the person detector did not find exactly one person have no row, so
sequences have holes, a few are very short, and some recordings are absent altogether. Recordings
of the empty room (``bkgrd``) are skipped.

Citation: Yu, Tan, Tan, "A framework for evaluating the effect of view angle, clothing and
carrying condition on gait recognition", ICPR 2006. Poses: Teepe et al., "GaitGraph", ICIP 2021,
arXiv 2101.11228; "Towards a deeper understanding of skeleton-based gait recognition", CVPRW 2022,
arXiv 2204.07855.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from gaitbench.casia_b import NUMBERS, SUBJECTS, TABLE, TRAIN_SUBJECTS, VIEWS
from gaitbench.datamodules.base import GaitDataModule, Split
from gaitbench.protocols import AttributeProtocol, Protocol, Selection
from gaitbench.readers.casia_b import READER_VERSION, casia_b_sources, read_casia_b
from gaitbench.skeleton import COCO17
from gaitbench.store import StoreWriter

EXPECTED = MappingProxyType(
    {(c, view): len(SUBJECTS) * len(NUMBERS[c]) for c in NUMBERS for view in VIEWS}
)
"""(condition, view) -> recordings of the whole dataset."""

# All protocols judge the test subjects, which the split chooses, on the views that the data have.
FIRST_FOUR: Selection = {"condition": ("nm",), "number": range(1, 5)}
PROBES: dict[str, Selection] = {
    "NM": {"condition": ("nm",), "number": range(5, 1000)},
    "BG": {"condition": ("bg",)},
    "CL": {"condition": ("cl",)},
}

CROSS_VIEW = Protocol(
    id="casia_b.cross_view",
    description=(
        "Gallery nm 1-4, one view at a time; probes nm 5-6, bg, cl; identical views excluded; "
        "mean over gallery views, then over probe views."
    ),
    gallery=FIRST_FOUR,
    probes=PROBES,
    gallery_views="each",
    exclude_same_view=True,
    unmatched="skip",
    windows="averaged",
)
"""The field's protocol.

Gallery: nm 1 to 4, the sequences of one view at a time. Probes: nm 5 and 6, all bg, all cl.
Excluded: gallery of the probe's own view. Means: over the probes of a cell (probe view, gallery
view), then for each probe view over the other gallery views, then over probe views. A probe whose
subject is not in a gallery view is left out of that trial and counted.
"""

GAITGRAPH2 = Protocol(
    id="casia_b.gaitgraph2",
    description=(
        "As GaitGraph2: gallery nm 1-4, one view at a time; probes nm 5-6, bg, cl; table without "
        "identical views, overall figure with them; unmatched probes count as wrong."
    ),
    gallery=FIRST_FOUR,
    probes=PROBES,
    gallery_views="each",
    exclude_same_view=True,
    unmatched="wrong",
    windows="averaged",
    repeated="last",
    overall="all_cells",
)
"""What GaitGraph2's program prints (Teepe et al., 2022, arXiv 2204.07855).

Gallery and probes as :data:`CROSS_VIEW`; of repeated sequences the last counts. The figures of a
probe set exclude identical views and are means over gallery views, then over probe views. The
``overall`` figure, which its authors log as accuracy, is the plain mean over all 3 x 11 x 11 cells
with the identical views in. A probe whose subject is not in a gallery view counts as wrong.
"""

GAITGRAPH = Protocol(
    id="casia_b.gaitgraph",
    description=(
        "As GaitGraph: GaitGraph2's sets with plain Euclidean distances of the embeddings as they "
        "are; overall figure with identical views set to zero."
    ),
    gallery=FIRST_FOUR,
    probes=PROBES,
    gallery_views="each",
    exclude_same_view=True,
    unmatched="wrong",
    windows="averaged",
    normalize=False,
    repeated="last",
    overall="zero_same_view",
)
"""What GaitGraph's program prints (Teepe et al., 2021, arXiv 2101.11228).

As :data:`GAITGRAPH2`, but embeddings are not normalised again, and the ``overall`` figure sets the
cells of identical views to zero and still divides by all 3 x 11 x 11: 10/11 of the real mean.
"""

POOLED = Protocol(
    id="casia_b.pooled",
    description=(
        "As GaitFormer: gallery nm 1-4 of all other views together; probes nm 5-6, bg, cl; "
        "L1 distance of unit vectors; mean over probe views."
    ),
    gallery=FIRST_FOUR,
    probes=PROBES,
    gallery_views="pooled",
    exclude_same_view=True,
    unmatched="skip",
    windows="averaged",
    distance="l1",
)
"""What GaitFormer's evaluator calls "single" (Cosma and Radoi, 2022), meant for the 62 / 62 split.

Gallery: nm 1 to 4 of all views but the probe's, together. Probes: nm 5 and 6, bg, cl. Distance: L1
of vectors of unit length, to which that model's representation is scaled. Means: over the probes of
a view, then over probe views. A probe without a partner in any other view is left out and counted.
Easier than one gallery view at a time, so its figures must not be put beside :data:`CROSS_VIEW`.
"""

FIRST_WALK = Protocol(
    id="casia_b.first_walk",
    description=(
        "Gallery nm 1, one view at a time; probes the other nm, bg, cl; identical views excluded; "
        "mean over gallery views, then over probe views."
    ),
    gallery={"condition": ("nm",), "number": (1,)},
    probes={**PROBES, "NM": {"condition": ("nm",), "number": range(2, 1000)}},
    gallery_views="each",
    exclude_same_view=True,
    unmatched="skip",
    windows="averaged",
)
"""Ours, for sets with as few as two normal walks; no published figure is comparable.

As :data:`CROSS_VIEW`, but only nm 1 is gallery and every further nm sequence is a probe.
"""

EACH_PAIR = Protocol(
    id="casia_b.set",
    description=(
        "As GaitFormer's pairwise table: gallery nm 1-4, one view at a time, identical views "
        "included; L1 distance of unit vectors; mean over gallery views, then over probe views."
    ),
    gallery=FIRST_FOUR,
    probes=PROBES,
    gallery_views="each",
    exclude_same_view=False,
    unmatched="wrong",
    windows="averaged",
    distance="l1",
)
"""What GaitFormer's evaluator calls "set" (Cosma and Radoi, 2022), meant for the 62 / 62 split.

Gallery: nm 1 to 4, the sequences of one view at a time. Probes: nm 5 and 6, bg, cl; the authors'
program writes the first alone. Excluded: nothing, so identical views are in its means. Distance: L1
of vectors of unit length. The program writes the table of pairs of views and no mean of it. A probe
whose subject is not in a gallery view counts as wrong.
"""

PROTOCOLS: dict[str, Protocol] = {
    protocol.id: protocol
    for protocol in (CROSS_VIEW, GAITGRAPH2, GAITGRAPH, POOLED, EACH_PAIR, FIRST_WALK)
}
"""Those of recognition, by id."""

GENDER = AttributeProtocol(
    id="casia_b.gender",
    description="As GaitFormer: who is a woman, over all walks and by view.",
    sets={"ALL": {}},
    attributes=("Female",),
    each_view=True,
)
"""What GaitFormer's program tells of sex (Cosma and Radoi, 2022), meant for the 99 / 25 split.

Judged: all walks of the test subjects, and those of each view by themselves. It prints weighted
precision, recall and F1, accuracy, AUROC and average precision, and chooses checkpoints by the
weighted F1 over all. The labels were never published; ``data.labels`` gives one's own.
"""


SPLITS = {
    name: Split(train, tuple(s for s in SUBJECTS if s not in train))
    for name, train in TRAIN_SUBJECTS.items()
}


class CasiaB(GaitDataModule):
    """CASIA-B: 124 people, ten walks each, eleven views, as COCO-17 poses.

    This module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the table of poses, ``.csv`` or ``.csv.gz``, or a folder that holds it or GaitGraph's
            split files.
        split: training and test subjects, ``74/50`` (the field's), ``62/62`` (GaitFormer's), or
            ``99/25`` (GaitFormer's for gender).
        frames: frames of a window.
        settings: see :class:`GaitDataModule`.
    """

    dataset = "casia_b"
    native_skeleton = COCO17.name
    reader_version = READER_VERSION
    splits: ClassVar[Mapping[str, Split]] = SPLITS
    protocols: ClassVar[Mapping[str, Protocol | AttributeProtocol]] = {
        **PROTOCOLS,
        GENDER.id: GENDER,
    }
    default_protocols: ClassVar[tuple[str, ...]] = ("casia_b.cross_view", "casia_b.gaitgraph2")

    def __init__(
        self,
        path: str = f"data/{TABLE}",
        split: Literal["74/50", "62/62", "99/25"] = "74/50",
        frames: int = 60,
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)

    @property
    def expected(self) -> Mapping[tuple[str, int], int]:
        """Those of all subjects."""
        return EXPECTED

    def sources(self) -> list[Path]:
        """The table, or the split files."""
        return casia_b_sources(self.path)

    def read(self, writer: StoreWriter) -> None:
        """Parse the table."""
        read_casia_b(self.path, writer)
