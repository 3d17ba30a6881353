"""A gallery of known people: a file, and who in it is nearest to a walk."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import gaitbench
from gaitbench.arrays import plain_arrays
from gaitbench.errors import InputError
from gaitbench.files import written_whole
from gaitbench.protocols import Distance
from gaitbench.protocols.distances import unit_length
from gaitbench.protocols.nearest import SPARE, measured, nearest
from gaitbench.protocols.open_set import Threshold

FORMAT, FORMAT_VERSION = "gaitbench gallery", 1
LABELS = {"subject": str, "condition": str, "number": np.int64, "view": np.int64}
"""What is known of an entry."""

MANY = 100_000
"""Entries from which on an index is built."""
INDEX_RECALL = 0.99
"""Share of entries whose nearest other entry an index must find."""
TRIED = 500
"""Entries, or probes, that the recall of an index is measured with."""
ROUNDS = 10
POINTS_OF_A_CELL = 64
"""Of the k-means that divides entries into cells, for each of which so many are looked at."""


@dataclass(frozen=True)
class Cells:
    """Entries divided among centres: the index that faiss calls IVF.

    Attributes:
        centres: float32 (L, D).
        cell: of each entry, int64 (N,).
        visited: cells that a search looks at.
    """

    centres: NDArray[np.float32]
    cell: NDArray[np.int64]
    visited: int


@dataclass(frozen=True)
class Gallery:
    """Entries: an embedding each, and who it is.

    Attributes:
        embeddings: float32 (N, D).
        entries: N rows with at least ``subject``, ``condition``, ``number`` and ``view``.
        distance: by which walks are compared.
        threshold: below which two are taken for one person; None before one was chosen.
        cells: of the approximate search; None where all entries are looked at.
    """

    embeddings: NDArray[np.float32]
    entries: pd.DataFrame
    distance: Distance = "euclidean"
    threshold: Threshold | None = None
    cells: Cells | None = None

    @property
    def people(self) -> list[str]:
        """Who is enrolled."""
        return sorted(set(self.entries["subject"]))

    def with_index(self) -> "Gallery":
        """The same with an index, if it has many entries and a distance that faiss cells serve.

        The number of cells that a search visits doubles until the nearest other entry of enough
        entries is found.
        """
        if len(self.embeddings) < MANY or self.distance == "l1":
            return self
        points = self._points(self.embeddings)
        divided = _divided(points)
        some = np.random.default_rng(0).choice(len(points), min(TRIED, len(points)), replace=False)
        exact = self._exact(self.embeddings[some], 2)[0]
        visited = 4
        while True:
            gallery = replace(self, cells=Cells(*divided, visited))
            found = gallery._approximate(self.embeddings[some], 2)[0]
            if recall(found, exact) >= INDEX_RECALL or visited >= len(divided[0]):
                return gallery
            visited *= 2

    def search(
        self, probes: NDArray[np.float32], count: int, exact: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The nearest entries of each probe, (P, k) from the nearest on, and their distances.

        Euclidean distances are lengths, cosine distances 1 - cos, l1 distances sums.

        Args:
            probes: float32 (P, D).
            count: k; no more than there are entries.
            exact: look at all entries even if there is an index.

        Raises:
            InputError: if the probes have another number of values, or faiss is needed and missing.
        """
        if probes.shape[1] != self.embeddings.shape[1]:
            raise InputError(
                f"the gallery's embeddings have {self.embeddings.shape[1]} values, the probes' "
                f"{probes.shape[1]}; both must come from the same network"
            )
        count = min(count, len(self.embeddings))
        find = self._exact if exact or self.cells is None else self._approximate
        places, distances = find(probes, count)
        if self.distance == "euclidean":
            return places, np.sqrt(distances)
        return places, distances / 2 if self.distance == "cosine" else distances

    def index_recall(self, probes: NDArray[np.float32], count: int) -> tuple[float, int]:
        """Share of the nearest entries that the index finds of some probes, and of how many."""
        some = probes[np.linspace(0, len(probes) - 1, min(TRIED, len(probes))).astype(np.int64)]
        found, exact = (self.search(some, count, exact=how)[0] for how in (False, True))
        return recall(found, exact), len(some)

    def _points(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """As they are compared."""
        if self.distance != "cosine":
            return np.ascontiguousarray(values)
        return unit_length(torch.from_numpy(values)).numpy()

    def _exact(
        self, probes: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        ours, theirs = torch.from_numpy(self.embeddings), torch.from_numpy(probes)
        places, distances = nearest(ours, theirs, count, self.distance)
        return places.numpy(), distances.numpy()

    def _approximate(
        self, probes: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Candidates of faiss, measured in float64."""
        assert self.cells is not None
        faiss = _faiss()
        points, wanted = self._points(self.embeddings), self._points(probes)
        centres = faiss.IndexFlatL2(points.shape[1])
        centres.add(self.cells.centres)
        index = faiss.IndexIVFFlat(centres, points.shape[1], len(self.cells.centres))
        pointer = faiss.swig_ptr
        index.add_core(len(points), pointer(points), None, pointer(self.cells.cell))
        index.nprobe = self.cells.visited
        found = torch.from_numpy(index.search(wanted, min(count + SPARE, len(points)))[1])
        together = torch.from_numpy(np.concatenate((points, wanted)))
        rows = len(points) + torch.arange(len(wanted))
        places, distances = measured(together, rows, found, count, "euclidean")
        return places.numpy(), distances.numpy()


def recall(found: NDArray[np.int64], exact: NDArray[np.int64]) -> float:
    """Share of the nearest entries (P, k) that are among those found (P, k)."""
    return float((exact[:, :, None] == found[:, None]).any(2).mean())


def _divided(points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Centres, and the nearest one of each point."""
    faiss = _faiss()
    means = faiss.Kmeans(
        points.shape[1],
        2 * math.isqrt(len(points)),
        niter=ROUNDS,
        seed=1,
        min_points_per_centroid=1,
        max_points_per_centroid=POINTS_OF_A_CELL,
    )
    means.train(points)
    return means.centroids, means.index.search(points, 1)[1][:, 0]


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            f"a gallery of {MANY:,} entries and more needs {error.name}, which is not installed; "
            "pip install 'gaitbench[search]'"
        ) from error
    return faiss


def write_gallery(gallery: Gallery, path: Path) -> None:
    """Write it as arrays of plain numbers and text, with a header in JSON.

    Raises:
        InputError: if the file cannot be written.
    """
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "gaitbench": gaitbench.__version__,
        "entries": len(gallery.embeddings),
        "embedding_dim": gallery.embeddings.shape[1],
        "people": len(gallery.people),
        "distance": gallery.distance,
        "threshold": gallery.threshold and asdict(gallery.threshold),
        "visited": gallery.cells and gallery.cells.visited,
    }
    arrays: dict[str, NDArray[Any]] = {
        name: gallery.entries[name].to_numpy().astype(kind) for name, kind in LABELS.items()
    }
    if gallery.cells is not None:
        arrays |= {"centres": gallery.cells.centres, "cell": gallery.cells.cell}
    with written_whole(path) as beside, beside.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            header=np.array(json.dumps(header)),
            embeddings=gallery.embeddings,
            **arrays,
        )


def read_gallery(path: Path) -> Gallery:
    """What :func:`write_gallery` wrote.

    Raises:
        InputError: if there is none, or it is something else or damaged.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; make it with `gaitbench identify build`")
    try:
        with path.open("rb") as file:
            arrays = plain_arrays(file)
        header = json.loads(str(arrays.pop("header")))
        return _gallery(header, arrays)
    except (
        *(ValueError, TypeError, LookupError, AttributeError, OverflowError),
        *(OSError, RecursionError),
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} is no gallery, or a damaged one ({reason}); make it again with `gaitbench "
            "identify build`"
        ) from error


def _gallery(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Gallery:
    """Of a file's header and arrays.

    Raises:
        ValueError: if they do not fit together; KeyError and TypeError if something is missing.
    """
    if (header["format"], header["format_version"]) != (FORMAT, FORMAT_VERSION):
        raise ValueError(f"expected {FORMAT} {FORMAT_VERSION}")
    embeddings = arrays["embeddings"]
    shape = header["entries"], header["embedding_dim"]
    if embeddings.shape != shape or embeddings.dtype != np.float32 or not len(embeddings):
        raise ValueError(f"expected embeddings {shape}")
    if not np.isfinite(embeddings).all():
        raise ValueError("an embedding is not finite")
    if header["distance"] not in get_args(Distance):
        raise ValueError("unknown distance")
    for name, kind in LABELS.items():
        if arrays[name].shape != shape[:1] or arrays[name].dtype.kind != np.dtype(kind).kind:
            raise ValueError(f"expected {shape[0]} values of {name}")
    threshold, cells = None, None
    if header["threshold"]:
        said = header["threshold"]
        threshold = Threshold(**{**said, "people": tuple(map(str, said["people"]))})
        for name in ("value", "fpir", "accepted", "searches"):
            if type(said[name]) not in (int, float) or not math.isfinite(said[name]):
                raise ValueError(f"the threshold's {name} is no number")
    if header["visited"]:
        centres, cell = arrays["centres"], arrays["cell"]
        if centres.shape[1:] != shape[1:] or cell.shape != shape[:1]:
            raise ValueError("the index is of other entries")
        if cell.dtype != np.int64 or centres.dtype != np.float32:
            raise ValueError("the index is of other numbers")
        if cell.min() < 0 or cell.max() >= len(centres):
            raise ValueError("the index names a cell that is not there")
        cells = Cells(centres, cell, int(header["visited"]))
    entries = pd.DataFrame({name: arrays[name] for name in LABELS})
    return Gallery(embeddings, entries, header["distance"], threshold, cells)


def is_enrolled(gallery: Gallery, sequences: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each walk of a table is itself an entry, by its labels, (N,)."""
    keys: Sequence[str] = list(LABELS)
    ours = pd.MultiIndex.from_frame(gallery.entries[keys].astype(str))
    return pd.MultiIndex.from_frame(sequences[keys].astype(str)).isin(ours)
