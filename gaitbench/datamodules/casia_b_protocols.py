"""The protocols that CASIA-B is evaluated by.

All of them judge the test subjects alone, which the split chooses; the probe sets are NM (normal
walks), BG (with a bag) and CL (in a coat). Views are those of the data.
"""

from gaitbench.protocols import Protocol, Selection

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
)
"""Ours, for sets with as few as two normal walks; no published figure is comparable.

As :data:`CROSS_VIEW`, but only nm 1 is gallery and every further nm sequence is a probe.
"""

PROTOCOLS: dict[str, Protocol] = {
    protocol.id: protocol for protocol in (CROSS_VIEW, GAITGRAPH2, GAITGRAPH, POOLED, FIRST_WALK)
}
"""By id."""
