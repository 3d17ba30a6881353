"""How fast a training goes, and what it could reach: loader, step, both, and the device's rate."""

import statistics
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from gaitbench.batch import GaitBatch
from gaitbench.errors import InputError

ROUND = 0.5  # seconds that a measurement lasts at least, unless a single step lasts longer
WARM_UP = 2  # steps before one is measured
ENDLESS = 10**6  # batches of an epoch that is stopped once all is measured
SIZES = {"cuda": 8192, "cpu": 2048}
"""Rows and columns of the matrices that are multiplied to learn what a device can do."""
DTYPES = {"16": torch.float16, "bf16": torch.bfloat16, "64": torch.float64}
"""Type that products have, by the begin of a trainer's precision; float32 otherwise."""

# what torch's counter does not know: attention without dropout on a CPU
ATTENTION: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda query, key, value, *more, **how: int(
            sdpa_flop_count(query, key, value)  # type: ignore[no-untyped-call]
        )
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, query, key, value, *more, **how: int(
            sdpa_backward_flop_count(grad, query, key, value)  # type: ignore[no-untyped-call]
        )
    ),
}


@dataclass(frozen=True)
class Throughput:
    """What was measured of a training: medians.

    Args:
        method: its class.
        dataset: likewise.
        device: its name.
        threads: of this process, for arithmetic on a CPU.
        workers: processes that read ahead; with 0 a batch is read between two steps.
        precision: of the trainer.
        batch: samples of a batch: windows.
        data: samples/s of the loader alone.
        step: samples/s of steps on one batch that lies on the device: transforms, forward,
            backward, optimiser, and what the trainer does between them.
        both: samples/s of the training as it is.
        flop: floating-point operations of a step's matrix products, convolutions and attention,
            forward and backward; a multiplication and an addition count two. Nothing else counts.
        rate: FLOP/s of the step.
        peak: FLOP/s of a product of two square matrices on the same device, of the type that the
            precision gives products.
        size: rows and columns of these matrices.
        memory: most bytes in use: on a GPU those of tensors, otherwise those of this process.
    """

    method: str
    dataset: str
    device: str
    threads: int
    workers: int
    precision: str
    batch: int
    data: float
    step: float
    both: float
    flop: int
    rate: float
    peak: float
    size: int
    memory: int

    @property
    def bottleneck(self) -> str:
        """``data`` or ``step``, whichever is slower alone."""
        return "data" if self.data < self.step else "step"

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON."""
        share = {"share_of_peak": self.rate / self.peak, "bottleneck": self.bottleneck}
        return {**asdict(self), **share}

    def to_text(self) -> str:
        """The figures as a table."""
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}"
        where = self.device + (threads if self.device == "cpu" else "")
        ratio = max(self.data, self.step) / min(self.data, self.step)
        other = {"data": "the step", "step": "the data"}[self.bottleneck]
        rows = [
            ("data alone", f"{self.data:,.1f} samples/s", f"{self.workers} workers"),
            ("step alone", f"{self.step:,.1f} samples/s", f"{self.batch / self.step:.3g} s a step"),
            ("both together", f"{self.both:,.1f} samples/s", ""),
            ("a step's products", f"{self.flop / 1e9:,.1f} GFLOP", ""),
            (
                "achieved",
                f"{self.rate / 1e9:,.1f} GFLOP/s",
                f"{self.rate / self.peak:.0%} of the {self.peak / 1e9:,.1f} of a product of two "
                f"{self.size:,} x {self.size:,} matrices",
            ),
            ("most memory", f"{self.memory / 1e9:,.2f} GB", ""),
            ("bottleneck", self.bottleneck, f"{other} alone would be {ratio:.3g} times as fast"),
        ]
        head = f"{self.method} on {self.dataset}, batch {self.batch}, {self.precision}, {where}\n"
        return head + "\n".join(f"  {a:<19}{b:>22}  {c}".rstrip() for a, b, c in rows)


class Feed:
    """The batches of a training: one of them again and again, or all in turn.

    Args:
        loader: that of the training.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.stream = self._stream()
        self.repeated: GaitBatch | None = None

    def __len__(self) -> int:
        """More batches than anybody waits for."""
        return ENDLESS

    def __iter__(self) -> Iterator[GaitBatch]:
        """Batches without end."""
        while True:
            yield next(self.stream) if self.repeated is None else self.repeated

    def _stream(self) -> Iterator[GaitBatch]:
        """The loader's batches, epoch after epoch."""
        epoch = 0
        while True:
            set_epoch = getattr(getattr(self.loader, "batch_sampler", None), "set_epoch", None)
            if set_epoch is not None:
                set_epoch(epoch)
            yield from self.loader
            epoch += 1


class Measurement(pl.Callback):
    """Measures a training from within, and then ends it.

    Args:
        repeats: measurements of each thing, whose median is taken.
    """

    def __init__(self, repeats: int) -> None:
        self.repeats = repeats
        self.feed: Feed | None = None
        self.figures: dict[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take one batch to the device."""
        self.device = trainer.strategy.root_device
        assert self.feed is not None
        values = next(self.feed.stream)
        tensors: dict[str, Any] = {
            name: value.to(self.device)
            for name, value in values._asdict().items()
            if isinstance(value, Tensor)
        }
        self.feed.repeated = values._replace(**tensors)
        self.figures["batch"] = len(values.row)
        self._script = self._measure(trainer, self.feed)
        next(self._script)

    def on_train_batch_end(self, *what: Any) -> None:
        """Go on to what comes after this step."""
        next(self._script, None)

    def _measure(self, trainer: pl.Trainer, feed: Feed) -> Iterator[None]:
        """What is done between the steps; each yield is a step."""
        yield
        # the counter looks at operations one by one, which a compiled network does not show
        eager = torch.compiler.set_stance("force_eager")
        with eager, FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter:
            yield
        multiply, size = self._product(str(trainer.precision))
        alone: list[float] = []
        products: list[float] = []
        count = yield from self._warm_up()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        for _ in range(self.repeats):
            products.append(self._rounds(multiply))
            alone.append((yield from self._steps(count)))
        memory = self._memory()

        feed.repeated = None
        next(feed.stream)  # has workers started
        data = [self._rounds(lambda: next(feed.stream)) for _ in range(self.repeats)]

        together: list[float] = []
        count = yield from self._warm_up()
        for _ in range(self.repeats):
            together.append((yield from self._steps(count)))
        trainer.should_stop = True

        step, flop = statistics.median(alone), counter.get_total_flops()
        self.figures |= {
            "data": self.figures["batch"] / statistics.median(data),
            "step": self.figures["batch"] / step,
            "both": self.figures["batch"] / statistics.median(together),
            "flop": flop,
            "rate": flop / step,
            "peak": 2 * size**3 / statistics.median(products),
            "size": size,
            "memory": memory,
        }

    def _product(self, precision: str) -> tuple[Callable[[], Tensor], int]:
        """A matrix product of the type that a precision gives products, and its matrices' size."""
        size = SIZES.get(self.device.type, SIZES["cpu"])
        dtype = DTYPES.get(precision.partition("-")[0], torch.float32)
        left, right = torch.randn(2, size, size, device=self.device).to(dtype)
        return lambda: left @ right, size

    def _rounds(self, what: Callable[[], object]) -> float:
        """Seconds of a call, of as many as make a round."""
        self._time_of(what, 1)
        return self._time_of(what, max(1, round(ROUND / self._time_of(what, 1))))

    def _time_of(self, what: Callable[[], object], count: int) -> float:
        begin = self._now()
        for _ in range(count):
            what()
        return (self._now() - begin) / count

    def _warm_up(self) -> Generator[None, None, int]:
        """Some steps, and how many of them make a round."""
        yield from self._steps(WARM_UP)
        once = yield from self._steps(1)
        return max(1, round(ROUND / once))

    def _steps(self, count: int) -> Generator[None, None, float]:
        """So many steps, and seconds of each."""
        begin = self._now()
        for _ in range(count):
            yield
        return (self._now() - begin) / count

    def _now(self) -> float:
        """The time once the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _memory(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if sys.platform == "win32":
            return 0
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most


def measure(
    trainer: pl.Trainer,
    method: pl.LightningModule,
    data: pl.LightningDataModule,
    repeats: int = 5,
) -> Throughput:
    """Measure a training that is built and has not begun; what it trains is of no use.

    Of the callbacks those alone stay that average weights, which is part of a step.

    Raises:
        InputError: if it has several processes, or its loss becomes infinite.
    """
    if trainer.world_size != 1:
        raise InputError(
            f"a measurement is of one device, trainer.devices gives {trainer.world_size} "
            "processes; give --trainer.devices 1"
        )
    measurement = Measurement(repeats)
    loader_of = data.train_dataloader

    def feed() -> Feed:
        measurement.feed = Feed(loader_of())
        return measurement.feed

    data.train_dataloader = feed  # type: ignore[method-assign]
    averaging: list[pl.Callback]
    averaging = [call for call in trainer.callbacks if isinstance(call, WeightAveraging)]  # type: ignore[attr-defined]
    trainer.callbacks = [*averaging, measurement]  # type: ignore[attr-defined]
    loop = trainer.fit_loop
    loop.min_epochs, loop.max_epochs = None, 1
    loop.epoch_loop.min_steps, loop.epoch_loop.max_steps = None, -1
    trainer.fit(method, datamodule=data)
    device = measurement.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Throughput(
        method=type(method).__name__,
        dataset=type(data).__name__,
        device=name,
        threads=torch.get_num_threads(),
        workers=getattr(data, "num_workers", 0),
        precision=str(trainer.precision),
        **measurement.figures,
    )
