"""SGE-LA's networks: an encoder-decoder with attention for each axis, and the classifier behind it.

Each of the axes x, y, z has a network of its own that sees nothing of the others. All axes are
worked out together: their weights lie side by side, (A, in, out), and every product is one batched
product.

Source: Rao et al. 2020, IJCAI, arXiv 2008.09435, and the extension of 2021, arXiv 2009.03671;
inside, as the authors' program has it. LSTM, Hochreiter and Schmidhuber 1997; attention, Luong et
al. 2015, arXiv 1508.04025, with its "input feeding".
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gaitbench.errors import InputError

DecoderInput = Literal["zeros", "shifted_target", "free"]

KERNEL_LIMIT = 0.1
"""LSTM kernels start evenly spread from minus this to this."""


class GaitEncoding(NamedTuple):
    """What the network makes of B sequences of T frames.

    Args:
        outputs: frames as the decoder draws them, (B, T, V, A).
        alignments: weight of each encoded frame at each decoder step, (A, B, T, T).
        contexts: encoded frames, weighted by the alignments, one a decoder step, (A, B, T, H).
        encoder_outputs: encoded frames, (A, B, T, H).
    """

    outputs: Tensor
    alignments: Tensor
    contexts: Tensor
    encoder_outputs: Tensor

    @property
    def of_frames(self) -> Tensor:
        """The gait encoding, a vector of all axes for each decoder step, (B, T, A H)."""
        return self.contexts.permute(1, 2, 0, 3).flatten(2)

    @property
    def of_sequences(self) -> Tensor:
        """The same numbers axis by axis, each step by step, (B, A T H)."""
        return self.contexts.transpose(0, 1).flatten(1)


class _LateGradient(torch.autograd.Function):
    """The first argument itself; what is to be known for the second one's gradient comes later."""

    @staticmethod
    def forward(ctx: Any, bases: Tensor, weight: Tensor, factors: list[Tensor]) -> Tensor:
        """(N, T, M, O) to the same."""
        ctx.factors = factors
        return bases.view_as(bases)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """The sum over steps of factor times gradient, as one product."""
        (grad,) = grads
        of_weight = None
        if ctx.needs_input_grad[1] and ctx.factors:
            factor = torch.stack(ctx.factors, dim=1).flatten(1, 2)
            of_weight = factor.mT @ grad[:, -len(ctx.factors) :].flatten(1, 2)
        return grad if ctx.needs_input_grad[0] else None, of_weight, None


class StepProducts:
    """base_t + x_t W for one step after the other, where x_t hangs on the step before.

    W's gradient is worked out in one product of all steps, not added up from one a step, but where
    a compiler has the whole before it.

    Args:
        bases: (N, T, M, O).
        weight: W, (N, I, O).
    """

    def __init__(self, bases: Tensor, weight: Tensor) -> None:
        self._factors: list[Tensor] = []
        self.bases: Sequence[Tensor]
        if torch.compiler.is_compiling():  # it would not see what is appended later
            self.bases, self._weight = bases.unbind(1), weight
            return
        joined = _LateGradient.apply(bases, weight, self._factors)  # type: ignore[no-untyped-call]
        self.bases = joined.unbind(1)
        self._weight = weight.detach()

    def __call__(self, step: int, x: Tensor) -> Tensor:
        """(N, M, I) to (N, M, O); only the first steps may be left out."""
        if not torch.compiler.is_compiling():
            self._factors.append(x.detach())
        return torch.baddbmm(self.bases[step], x, self._weight)


class AxisLinear(nn.Module):
    """A linear layer for each axis.

    Args:
        axes: A.
        inputs: I.
        outputs: O.
        bias: whether there is one.
    """

    def __init__(self, axes: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        limit = math.sqrt(6 / (inputs + outputs))  # Glorot and Bengio 2010
        self.weight = nn.Parameter(torch.empty(axes, inputs, outputs).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.zeros(axes, outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(A, N, I) to (A, N, O)."""
        if self.bias is None:
            return x @ self.weight
        return torch.baddbmm(self.bias[:, None], x, self.weight)


class Cell(nn.Module):
    """Weights of an LSTM cell for each axis.

    Columns are input gate, new value, forget gate and output gate; rows the input, then the state.
    1 is added to the forget gate, which no weight holds.

    Args:
        axes: A.
        inputs: I.
        hidden: H.
    """

    lift: Tensor

    def __init__(self, axes: int, inputs: int, hidden: int) -> None:
        super().__init__()
        kernel = torch.empty(axes, inputs + hidden, 4 * hidden)
        self.kernel = nn.Parameter(kernel.uniform_(-KERNEL_LIMIT, KERNEL_LIMIT))
        self.bias = nn.Parameter(torch.zeros(axes, 4 * hidden))
        lift = torch.tensor([0.0, 0, 1, 0]).repeat_interleave(hidden)
        self.register_buffer("lift", lift, persistent=False)

    def bases(self, x: Tensor | None, rows: Tensor | None, steps: int, batch: int) -> Tensor:
        """What gates have beside the state's share, (A, T, B, 4 H).

        Args:
            x: inputs of all steps, (A, T, B, I); zeros if None.
            rows: of the kernel, for them, (A, I, 4 H).
            steps: T.
            batch: B.
        """
        bias = (self.bias + self.lift)[:, None]
        if x is None or rows is None:
            return bias[:, :, None].expand(-1, steps, batch, -1)
        return torch.baddbmm(bias, x.flatten(1, 2), rows).view(len(x), steps, batch, -1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (A, T, B, I) to states (A, T, B, H), and the last state and cell (A, B, H)."""
        _, steps, batch, inputs = x.shape
        into, recurrent = torch.split(self.kernel, [inputs, self.kernel.shape[1] - inputs], dim=1)
        gates = StepProducts(self.bases(x, into, steps, batch), recurrent)
        state, cell = moved(gates.bases[0], None)
        states = [state]
        for step in range(1, steps):
            state, cell = moved(gates(step, state), cell)
            states.append(state)
        return torch.stack(states, dim=1), state, cell


def moved(gates: Tensor, cell: Tensor | None) -> tuple[Tensor, Tensor]:
    """State and cell after gates (A, B, 4 H), from a cell (A, B, H), zeros if None."""
    input_gate, value, forget_gate, output_gate = gates.chunk(4, dim=-1)
    taken = input_gate.sigmoid() * value.tanh()
    cell = taken if cell is None else torch.addcmul(taken, forget_gate.sigmoid(), cell)
    return output_gate.sigmoid() * cell.tanh(), cell


class GaitEncoder(nn.Module):
    """Two-layer LSTM encoder and decoder with attention, one a coordinate axis.

    Everything is worked out in the precision of the weights, autocast or not.

    Args:
        joints: V.
        hidden: H, of every layer and of the attention.
        axes: A.
        decoder_input: what the decoder is fed beside its own attention vector. ``zeros``, as the
            authors' program has it; ``shifted_target``, zeros and then the target but for its last
            frame, as the publication has it; ``free``, zeros and then what it has drawn itself.
        start: of the LSTM kernels: ``random``, or ``published``, the numbers that the authors'
            program starts with in every run and on every axis.

    Raises:
        InputError: if a size is impossible.
    """

    def __init__(
        self,
        joints: int = 20,
        hidden: int = 256,
        axes: int = 3,
        decoder_input: DecoderInput = "zeros",
        start: Literal["random", "published"] = "random",
    ) -> None:
        for name, value in (("joints", joints), ("hidden", hidden), ("axes", axes)):
            if value < 1:
                raise InputError(f"model.{name} is {value}; give 1 or more")
        super().__init__()
        self.decoder_input: DecoderInput = decoder_input
        self.encoder = nn.ModuleList([Cell(axes, joints, hidden), Cell(axes, hidden, hidden)])
        self.memory = AxisLinear(axes, hidden, hidden, bias=False)
        self.decoder = nn.ModuleList(
            [Cell(axes, joints + hidden, hidden), Cell(axes, hidden, hidden)]
        )
        self.attention = AxisLinear(axes, 2 * hidden, hidden, bias=False)
        self.output = AxisLinear(axes, hidden, joints)
        nn.init.trunc_normal_(self.output.weight, std=0.1, a=-0.2, b=0.2)
        if start == "published":
            with torch.no_grad():
                for kernel in (cell.kernel for cell in (*self.encoder, *self.decoder)):
                    assert isinstance(kernel, nn.Parameter)
                    numbers = published_start(kernel[0].numel())
                    kernel.copy_(torch.from_numpy(numbers).view_as(kernel[0]))

    def forward(
        self,
        frames: Tensor,
        target: Tensor | None = None,
        decoder_input: DecoderInput | None = None,
    ) -> GaitEncoding:
        """Encode sequences and draw them again.

        Args:
            frames: (B, T, V, A).
            target: what shall be drawn, (B, T, V, A); the decoder looks at it only where it is fed
                ``shifted_target``, and takes the frames in reverse order if there is none.
            decoder_input: in place of the network's own.
        """
        with torch.autocast(frames.device.type, enabled=False):
            x = _by_axis(frames).to(self.memory.weight.dtype)
            encoded, states = self._encode(x)
            fed = decoder_input or self.decoder_input
            given = None
            if fed == "shifted_target":
                given = x.flip(1) if target is None else _by_axis(target).to(x.dtype)
                given = F.pad(given[:, :-1], (0, 0, 0, 0, 1, 0))
            return self._decode(encoded, states, given, free=fed == "free")

    def _encode(self, x: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """(A, T, B, V) to encoded frames (A, T, B, H), and each layer's last state and cell."""
        states = []
        for layer in self.encoder:
            x, *last = layer(x)
            states.append((last[0], last[1]))
        return x, states

    def _decode(
        self,
        encoded: Tensor,
        states: list[tuple[Tensor, Tensor]],
        given: Tensor | None,
        free: bool,
    ) -> GaitEncoding:
        """Encoded frames (A, T, B, H) and what the decoder is fed, (A, T, B, V), if anything."""
        axes, steps, batch, hidden = encoded.shape
        values = encoded.transpose(1, 2)
        keys = self.memory(values.flatten(1, 2)).reshape(axes * batch, steps, hidden)
        values = values.flatten(0, 1)
        none = encoded.new_zeros(()).expand

        first, second = self.decoder
        assert isinstance(first, Cell) and isinstance(second, Cell)
        joints = first.kernel.shape[1] - 2 * hidden
        into, recurrent = torch.split(first.kernel, [joints, 2 * hidden], dim=1)
        gates = (
            StepProducts(
                first.bases(given, into, steps, batch), first.kernel if free else recurrent
            ),
            StepProducts(second.bases(None, None, steps, batch), second.kernel),
        )
        score = StepProducts(none(axes * batch, steps, 1, steps), keys.mT)
        gather = StepProducts(none(axes * batch, steps, 1, hidden), values)
        attend = StepProducts(none(axes, steps, batch, hidden), self.attention.weight)
        bias = self.output.bias
        assert bias is not None
        draw = StepProducts(bias[:, None, None].expand(-1, steps, batch, -1), self.output.weight)

        (low, low_cell), (high, high_cell) = states
        attended, drawn = none(axes, batch, hidden), none(axes, batch, joints)
        outputs, alignments, contexts = [], [], []
        for step in range(steps):
            fed = (drawn, attended, low) if free else (attended, low)
            low, low_cell = moved(gates[0](step, torch.cat(fed, dim=-1)), low_cell)
            high, high_cell = moved(gates[1](step, torch.cat((low, high), dim=-1)), high_cell)
            alignment = score(step, high.reshape(-1, 1, hidden)).softmax(-1)
            context = gather(step, alignment)
            read = torch.cat((high, context.view_as(high)), dim=-1)
            attended = attend(step, read)
            drawn = draw(step, attended)
            outputs.append(drawn)
            alignments.append(alignment)
            contexts.append(context)
        return GaitEncoding(
            torch.stack(outputs).permute(2, 0, 3, 1),
            torch.cat(alignments, dim=1).view(axes, batch, steps, steps),
            torch.cat(contexts, dim=1).view(axes, batch, steps, hidden),
            values.view(axes, batch, steps, hidden),
        )


def _by_axis(frames: Tensor) -> Tensor:
    """(B, T, V, A) to (A, T, B, V)."""
    return frames.permute(3, 1, 0, 2)


class ContextProjection(nn.Module):
    """Two layers that turn the contexts of a sequence into what a contrastive loss trains.

    Args:
        axes: A.
        frames: T.
        hidden: H.
        start: ``published``, normal with a spread of 1 whatever the size, or ``scaled`` to the
            size of the layer.

    Source: Rao et al. 2021, arXiv 2009.03671, authors' program.
    """

    def __init__(
        self,
        axes: int = 3,
        frames: int = 6,
        hidden: int = 256,
        start: Literal["published", "scaled"] = "scaled",
    ) -> None:
        super().__init__()
        self.hidden = AxisLinear(axes, frames * hidden, hidden)
        self.output = AxisLinear(axes, hidden, hidden)
        if start == "published":
            nn.init.normal_(self.hidden.weight)
            nn.init.normal_(self.output.weight)

    def forward(self, contexts: Tensor) -> Tensor:
        """Contexts (A, B, T, H) to (A, B, H)."""
        projected: Tensor = self.output(self.hidden(contexts.flatten(2)).relu())
        return projected


class AgeClassifier(nn.Module):
    """The recognition network: one hidden layer between a gait encoding and the known subjects.

    Args:
        inputs: values of an encoding: A H of a frame, A T H of a sequence.
        subjects: C.
        hidden: of the layer between.
        start: ``published``, weights normal with a spread of 1 whatever the size, which begins
            with huge logits, or ``scaled`` to the size of the layer. Biases start at 0.

    Raises:
        InputError: if there are fewer than two subjects.
    """

    def __init__(
        self,
        inputs: int = 768,
        subjects: int = 28,
        hidden: int = 256,
        start: Literal["published", "scaled"] = "scaled",
    ) -> None:
        if subjects < 2:
            raise InputError(
                f"a classifier needs at least 2 training subjects, found {subjects}; mend "
                "data.split"
            )
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.output = nn.Linear(hidden, subjects)
        for layer in (self.hidden, self.output):
            nn.init.zeros_(layer.bias)
            if start == "published":
                nn.init.normal_(layer.weight)
            else:
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")

    def forward(self, encodings: Tensor) -> Tensor:
        """Encodings (..., I) to logits (..., C)."""
        logits: Tensor = self.output(self.hidden(encodings).relu())
        return logits


ROUNDS = 10
MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)
KEY_STEPS = np.array([0x9E3779B9, 0xBB67AE85], np.uint64)
SEEDS = 87654321, 2
"""Of the graph and of the operation: TensorFlow's default and that of the authors' program."""


def published_start(count: int) -> NDArray[np.float32]:
    """The first numbers of the stream that all LSTM kernels of the authors' program start with.

    Args:
        count: how many.

    Returns:
        (count,), from -0.1 to 0.1.

    Source: Philox-4x32-10, Salmon et al. 2011, doi 10.1145/2063384.2063405, as TensorFlow 1 draws
    uniform numbers with it.
    """
    low = np.uint64(0xFFFFFFFF)
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    counter = np.zeros((4, len(blocks)), np.uint64)
    counter[:3] = blocks & low, blocks >> np.uint64(32), np.full_like(blocks, SEEDS[1])
    key = np.array([SEEDS[0], 0], np.uint64)
    for _ in range(ROUNDS):
        products = MULTIPLIERS[:, None] * counter[::2]
        high, rest = products >> np.uint64(32), products & low
        counter = np.stack(
            [high[1] ^ counter[1] ^ key[0], rest[1], high[0] ^ counter[3] ^ key[1], rest[0]]
        )
        key = (key + KEY_STEPS) & low
    bits = counter.T.ravel()[:count].astype(np.uint32)
    # the low 23 bits are the fraction of a number from 1 to 2
    unit = ((bits & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
    limit = np.float32(KERNEL_LIMIT)
    spread: NDArray[np.float32] = unit * (limit + limit) - limit
    return spread
