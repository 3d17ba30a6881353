"""Which sequences make up each batch: indices from labels, no dataset.

Every batch is a pure function of (seed, epoch, position in the epoch), whatever the number of
workers, so a run repeats and resumes exactly. Each process of a distributed run takes its share of
the same global batch, all draw by the same seed, and all make the same number of steps.
"""

import logging
from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gaitbench.batch import BatchRequest, Rows, Share
from gaitbench.errors import InputError
from gaitbench.processes import process_rank

logger = logging.getLogger(__name__)

Order = Literal["each_epoch", "once", "file"]
"""When rows are shuffled: for each epoch, once for all, or never."""


def shares(total: int, processes: int, equal: bool = False) -> tuple[tuple[int, int], ...]:
    """First sample and number of samples of each process's part of a batch.

    Args:
        total: samples of the batch, at least 1.
        processes: how many there are.
        equal: give all as many, for which parts overlap where they do not come out even. Otherwise
            they differ by one at most; a batch of fewer samples than processes is everybody's, so
            that none is idle and all make the same step.
    """
    if equal:
        count = -(-total // processes)
        return tuple((min(i * count, total - count), count) for i in range(processes))
    if total < processes:
        return ((0, total),) * processes
    ends = [total * i // processes for i in range(processes + 1)]
    return tuple((ends[i], ends[i + 1] - ends[i]) for i in range(processes))


def refuse_uneven(batch_size: int, sequences_per_subject: int, processes: int) -> None:
    """Stop where processes would have training batches of different sizes.

    Args:
        batch_size: over all of them.
        sequences_per_subject: K, whose P people are shared out whole; 0 for plain batches.
        processes: how many there are.

    Raises:
        InputError: naming the nearest batch sizes that can be shared out.
    """
    step = max(sequences_per_subject, 1) * processes
    if batch_size % step == 0:
        return
    below = batch_size // step * step
    nearest = f"{below} or {below + step}" if below else f"{step}"
    people = f"people of data.sequences_per_subject {sequences_per_subject}"
    raise InputError(
        f"data.batch_size {batch_size} does not give {processes} processes as many "
        f"{people if sequences_per_subject else 'sequences'} each; give {nearest}, or another "
        "trainer.devices"
    )


class BatchSampler:
    """Base of the samplers: an iterable of :class:`BatchRequest`.

    Args:
        rows: table rows to draw from.
        batch_size: sequences of a batch over all processes.
        seed: of all batches.

    Attributes:
        skipped: batches of the epoch that an iteration leaves out, since they were shown before.
    """

    equal: ClassVar[bool] = False  # whether shares are, see :func:`shares`

    def __init__(self, rows: Rows, batch_size: int, seed: int = 0) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; give at least 1")
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.skipped = 0

    @property
    def sampler(self) -> "BatchSampler":
        """Itself: Lightning tells ``batch_sampler.sampler``, and nothing else, the epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of the given epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.rows) // self.batch_size)

    def batches(self, random: np.random.Generator) -> Iterator[Rows]:
        """The global batches of an epoch."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[BatchRequest]:
        """This process's share of each global batch."""
        rank, processes = process_rank()
        random = np.random.default_rng((self.seed, self.epoch))
        for i, rows in enumerate(self.batches(random)):
            if i < self.skipped:
                continue
            share = None
            if processes > 1:
                share = Share(shares(len(rows), processes, self.equal), rank)
            draw = np.random.SeedSequence((self.seed, self.epoch, i, 0))
            yield BatchRequest(rows, int(draw.generate_state(1)[0]), share)


class InOrder(BatchSampler):
    """Every row once, in the order given: for evaluation.

    In a distributed run the shares of the last batch may overlap, so results are joined by row.
    """

    equal = True

    def batches(self, random: np.random.Generator) -> Iterator[Rows]:
        """Consecutive rows; the last batch may be short."""
        for start in range(0, len(self.rows), self.batch_size):
            yield self.rows[start : start + self.batch_size]


class RandomBatches(BatchSampler):
    """Every row once an epoch; the last batch may be short, as published.

    Args:
        rows: table rows to draw from.
        batch_size: sequences of a batch over all processes.
        seed: of all batches.
        order: ``each_epoch`` has one of its own, or all have the one that is shuffled ``once``, or
            that of the ``file``, which is the rows'.
        keep_tail: whether a last batch that is not full is shown.

    Raises:
        InputError: if there are fewer rows than a batch takes and only full ones are shown.
    """

    def __init__(
        self,
        rows: Rows,
        batch_size: int,
        seed: int = 0,
        order: Order = "each_epoch",
        keep_tail: bool = True,
    ) -> None:
        super().__init__(rows, batch_size, seed)
        self.order = order
        self.keep_tail = keep_tail
        if not keep_tail and len(rows) < batch_size:
            raise InputError(
                f"only full batches are shown (data.keep_tail false), and {len(rows)} training "
                f"samples do not fill one of data.batch_size {batch_size}; lower it, or give "
                "data.keep_tail true"
            )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return super().__len__() if self.keep_tail else len(self.rows) // self.batch_size

    def batches(self, random: np.random.Generator) -> Iterator[Rows]:
        """Consecutive rows in that order."""
        if self.order == "once":
            random = np.random.default_rng(self.seed)
        rows = self.rows if self.order == "file" else random.permutation(self.rows)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield rows[start : start + self.batch_size]


class IndependentBatches(BatchSampler):
    """Batches that know nothing of each other, all of them full.

    Each is drawn from all rows, none of them twice, or with repeats where there are fewer rows than
    a batch takes. An epoch counts windows, not sequences: it has as many batches as it takes to
    show as many windows as there are rows, so with two windows a sequence it shows about half of
    the sequences.

    Args:
        rows: table rows to draw from.
        batch_size: sequences of a batch over all processes.
        windows: of each of them.
        seed: of all batches.

    Source: the sampler of two views in the authors' program of Cosma and Radoi 2022, doi
    10.3390/s22186803.
    """

    def __init__(self, rows: Rows, batch_size: int, windows: int = 1, seed: int = 0) -> None:
        super().__init__(rows, batch_size, seed)
        self.windows = windows
        if len(rows) < batch_size and process_rank()[0] == 0:
            logger.warning(
                "a batch takes %d sequences of %d, so each is drawn with repeats",
                batch_size,
                len(rows),
            )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.rows) // (self.batch_size * self.windows))

    def batches(self, random: np.random.Generator) -> Iterator[Rows]:
        """A fresh draw a batch."""
        few = len(self.rows) < self.batch_size
        for _ in range(len(self)):
            yield self.rows[random.choice(len(self.rows), self.batch_size, replace=few)]


class ConditionBatches(BatchSampler):
    """Batches that hold as much of each condition, all of them full.

    Of C conditions a batch has ``batch_size // C`` rows each; what is left of it are rows of
    conditions drawn at random. Each condition's rows come in random order, and again in that order
    where they do not last. An epoch has as many batches as it takes to show as many rows as there
    are: those of a frequent condition are not all shown, those of a rare one several times.

    Args:
        rows: table rows to draw from.
        conditions: (len(rows),) condition of each.
        batch_size: sequences of a batch over all processes.
        seed: of all batches.

    Source: Delgado-Escano et al. 2021, IEEE Access 9, document 9646881, authors' program.
    """

    def __init__(
        self, rows: Rows, conditions: NDArray[np.int64], batch_size: int, seed: int = 0
    ) -> None:
        super().__init__(rows, batch_size, seed)
        self.members = [rows[conditions == condition] for condition in np.unique(conditions)]

    def batches(self, random: np.random.Generator) -> Iterator[Rows]:
        """Rows of one condition after those of another."""
        order = [random.permutation(members) for members in self.members]
        count = len(order)
        shown = np.zeros(count, dtype=np.int64)
        for _ in range(len(self)):
            extra = random.integers(count, size=self.batch_size % count)
            share = self.batch_size // count + np.bincount(extra, minlength=count)
            yield np.concatenate(
                [
                    members.take(np.arange(first, first + some), mode="wrap")
                    for members, first, some in zip(order, shown, share, strict=True)
                ]
            )
            shown += share


class SubjectBatches(BatchSampler):
    """P subjects times K sequences a batch.

    Subjects come in random order, each as often as any other (give or take one). A subject's K
    sequences are drawn without repeats where it has K, otherwise each is taken before any repeats.

    Args:
        rows: table rows to draw from.
        subjects: (len(rows),) subject of each.
        batch_size: P times K over all processes.
        sequences_per_subject: K.
        conditions: (len(rows),) condition of each; if given, a subject's K sequences are spread
            over its conditions as evenly as they go (an idea of GaitMixer's recipe).
        seed: of all batches.

    Raises:
        InputError: if P is not a whole number or more than there are subjects.
    """

    def __init__(
        self,
        rows: Rows,
        subjects: NDArray[np.int64],
        batch_size: int,
        sequences_per_subject: int,
        conditions: NDArray[np.int64] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(rows, batch_size, seed)
        found, codes, counts = np.unique(subjects, return_inverse=True, return_counts=True)
        k = sequences_per_subject
        if batch_size % k:
            raise InputError(
                f"batch_size {batch_size} is no multiple of sequences_per_subject {k}; "
                f"{batch_size // k * k or k} and {(batch_size // k + 1) * k} are"
            )
        self.subjects_per_batch, self.sequences_per_subject = batch_size // k, k
        if self.subjects_per_batch > len(found):
            raise InputError(
                f"batch_size {batch_size} with sequences_per_subject {k} needs "
                f"{self.subjects_per_batch} subjects, the training set has {len(found)}; "
                f"lower batch_size to {len(found) * k} or less"
            )
        # members[s] lists the positions in rows of subject s, padded with -1
        self.members = np.full((len(found), counts.max()), -1)
        order = np.argsort(codes, kind="stable")
        column = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        self.members[codes[order], column] = order
        self.counts = counts
        self.conditions = conditions

    def batches(self, random: np.random.Generator) -> Iterator[Rows]:
        """P x K rows a batch, one subject's sequences side by side."""
        p, k = self.subjects_per_batch, self.sequences_per_subject
        waiting = np.empty(0, dtype=np.int64)
        for _ in range(len(self)):
            if len(waiting) < p:
                fresh = random.permutation(len(self.members))
                # who still waits must not come twice in the batch that begins with the old round
                fresh = fresh[np.argsort(np.isin(fresh, waiting), kind="stable")]
                waiting = np.concatenate((waiting, fresh))
            chosen, waiting = waiting[:p], waiting[p:]
            members = self.members[chosen]  # (P, M)
            key = np.where(members < 0, np.inf, random.random(members.shape))
            if self.conditions is not None:
                key = key + self._turn(members, key)
            order = np.argsort(key, axis=1)
            take = np.arange(k) % self.counts[chosen][:, None]
            picked = np.take_along_axis(members, np.take_along_axis(order, take, axis=1), axis=1)
            yield self.rows[picked.reshape(-1)]

    def _turn(self, members: Rows, key: NDArray[np.float64]) -> Rows:
        """How many of the same subject and condition have a smaller key, (P, M)."""
        assert self.conditions is not None
        condition = self.conditions[members]
        same = (condition[:, :, None] == condition[:, None, :]) & (members >= 0)[:, None, :]
        return np.asarray((same & (key[:, None, :] < key[:, :, None])).sum(axis=2))
