"""Losses of embeddings and subjects.

Nothing here asks the device how many pairs or triplets there are, for which a step would have to
wait: what does not count is masked. Everything is worked out in float32 at least.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitbench.errors import InputError
from gaitbench.precision import exactly, precise, without_autocast


class SupervisedContrastive(nn.Module):
    """Supervised contrastive loss on distances of unit vectors.

    With s_ij = -|u_i - u_j| / temperature and positives P(i) of the same subject,
    l_i = -mean over p in P(i) of (s_ip - log of the sum over k != i of exp(s_ik)); the loss is the
    mean of the l_i that are above 0, and 0 where a batch has no positive or no negative pair.

    Args:
        temperature: of the softmax.

    Source: Khosla et al. 2020, arXiv 2004.11362, equation 2, with the negative Euclidean distance
    of Teepe et al. 2022, arXiv 2204.07855, in place of the dot product.
    """

    def __init__(self, temperature: float) -> None:
        if temperature <= 0:
            raise InputError(f"temperature is {temperature}; give more than 0")
        super().__init__()
        self.temperature = temperature

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """Scalar loss of embeddings (B, D) of subjects (B,)."""
        return _mean_above_zero(_contrast(-unit_distances(embedding) / self.temperature, subject))


class PairContrastive(nn.Module):
    """Contrastive loss: the validation figure of GaitGraph2.

    Mean distance of positive pairs (those above 0) plus mean of 1 - d over the negative pairs
    nearer than 1, on unit vectors.

    Source: authors' code of Teepe et al. 2022, arXiv 2204.07855 (margins 0 and 1).
    """

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """Scalar loss of embeddings (B, D) of subjects (B,)."""
        distance = unit_distances(embedding)
        same = subject[:, None] == subject
        itself = torch.eye(len(same), dtype=torch.bool, device=same.device)
        positive = distance.masked_fill(~same | itself, 0)
        negative = F.relu(1 - distance).masked_fill(same, 0)
        return _mean_above_zero(positive) + _mean_above_zero(negative)


class Triplet(nn.Module):
    """Triplet loss over all triplets of a batch, on distances of unit vectors.

    Mean over the triplets (anchor, positive, negative) with d(a, p) - d(a, n) + margin above 0 of
    that value; 0 where there is none.

    Args:
        margin: by which a negative shall be farther than a positive.

    Source: Hermans et al. 2017, arXiv 1703.07737, "batch all", its mean over non-zero terms.
    """

    def __init__(self, margin: float = 0.2) -> None:
        if margin <= 0:
            raise InputError(f"triplet margin is {margin}; give more than 0")
        super().__init__()
        self.loss = BatchAllTriplet(margin)

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """Scalar loss of embeddings (B, D) of subjects (B,)."""
        loss: Tensor = self.loss(embedding, subject)
        return loss


class Classification(nn.Module):
    """Cross-entropy over the training subjects behind a batch-norm neck.

    The embedding passes a batch-norm without shift, then the cosine with each subject's weight
    vector, times ``scale``, is that subject's logit. Only this branch sees the batch-norm: what is
    compared stays the embedding itself.

    Args:
        embedding_dim: D.
        num_subjects: training subjects, counted from 0.
        scale: of the cosines.

    Source: neck, Luo et al. 2019, arXiv 1903.07071; cosine logits, Wang et al. 2017, arXiv
    1704.06369; scale 16, the skeleton recipes of GPGait and SkeletonGait.
    """

    def __init__(self, embedding_dim: int, num_subjects: int, scale: float = 16.0) -> None:
        if num_subjects < 2:
            raise InputError(
                f"a classifier needs at least 2 training subjects, found {num_subjects}; set "
                "model.classifier_weight to 0 or mend data.split"
            )
        super().__init__()
        self.scale = scale
        self.neck = nn.BatchNorm1d(embedding_dim)
        self.neck.bias.requires_grad_(False)
        self.weight = nn.Parameter(torch.empty(num_subjects, embedding_dim))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """Scalar loss of embeddings (B, D) of subjects (B,)."""
        with without_autocast(embedding):
            neck: Tensor = self.neck(embedding.to(self.weight.dtype))
            cosine = F.linear(F.normalize(neck), F.normalize(self.weight))
            return F.cross_entropy(self.scale * cosine, subject)


class WeightedSum(nn.Module):
    """Several losses of the same embeddings added up.

    Args:
        losses: each with its weight; those of weight 0 are left out.

    Raises:
        InputError: if none is left.
    """

    def __init__(self, losses: Sequence[tuple[float, nn.Module]]) -> None:
        super().__init__()
        if not any(weight for weight, _ in losses):
            raise InputError("all losses have weight 0; give model.contrastive_weight above 0")
        self.weights = [weight for weight, _ in losses if weight]
        self.losses = nn.ModuleList(loss for weight, loss in losses if weight)

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """Scalar loss of embeddings (B, D) of subjects (B,)."""
        terms = zip(self.weights, self.losses, strict=True)
        return torch.stack([weight * loss(embedding, subject) for weight, loss in terms]).sum()


class TwoViewContrastive(nn.Module):
    """Supervised contrastive loss on dot products of unit vectors, several a sequence.

    With s_ij = u_i . u_j / temperature and positives P(i) of the same subject, other views of the
    same sequence among them, l_i = -mean over p in P(i) of (s_ip - log of the sum over k != i of
    exp(s_ik)); the loss is the mean of all l_i times temperature / 0.07. A vector without a
    positive counts 0, and so does a batch without a negative pair.

    Args:
        temperature: of the softmax.

    Source: Khosla et al. 2020, arXiv 2004.11362, equation 2; the last factor is that of their code,
    whose base temperature 0.07 Teepe et al. 2021, arXiv 2101.11228, keep at every temperature.
    """

    def __init__(self, temperature: float) -> None:
        if temperature <= 0:
            raise InputError(f"temperature is {temperature}; give more than 0")
        super().__init__()
        self.temperature = temperature

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """Scalar loss of unit vectors (B, D) of subjects (B,)."""
        loss = _contrast(_logits(embedding, self.temperature), subject).mean()
        return self.temperature / 0.07 * loss


class SupCon(nn.Module):
    """Supervised contrastive loss in the form of its authors' program, with its epsilon.

    With s_ij = f_i . f_j / temperature, l_ij = s_ij - max over all a of s_ia (itself among them,
    held fixed in the gradient) and positives P(i) of the same subject,
    l_i = -temperature / base_temperature times the mean over p in P(i) of
    (l_ip - log(epsilon + sum over a != i of exp(l_ia))); the loss is the mean of all l_i. A vector
    without a positive counts 0.

    Beside unit vectors the epsilon stands for one more negative at cosine
    1 + temperature log(epsilon): 0.986 at temperature 0.001 and epsilon 1e-6. Negatives farther
    off than this are not pushed away, and positives nearer than this are not pulled. An epsilon of
    0 gives the loss of the equation, as :class:`TwoViewContrastive` has it.

    Args:
        temperature: of the softmax.
        base_temperature: by which the loss is scaled.
        epsilon: within the logarithm.

    Source: Khosla et al. 2020, arXiv 2004.11362, equation 2; epsilon and base temperature as in
    GaitFormer's program (Cosma and Radoi 2022, doi 10.3390/s22186803).
    """

    def __init__(
        self, temperature: float, base_temperature: float = 0.07, epsilon: float = 1e-6
    ) -> None:
        for name, value in (("temperature", temperature), ("base_temperature", base_temperature)):
            if value <= 0:
                raise InputError(f"{name} is {value}; give more than 0")
        if epsilon < 0:
            raise InputError(f"epsilon is {epsilon}; give 0 or more")
        super().__init__()
        self.temperature = temperature
        self.base_temperature = base_temperature
        self.epsilon = epsilon

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """Scalar loss of unit vectors (B, D) of subjects (B,)."""
        logits = _logits(embedding, self.temperature)
        logits = logits - logits.detach().amax(dim=1, keepdim=True)
        itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        total = logits.masked_fill(itself, -torch.inf).logsumexp(dim=1, keepdim=True)
        if self.epsilon:
            total = torch.logaddexp(total, torch.full_like(total, math.log(self.epsilon)))
        positive = (subject[:, None] == subject) & ~itself
        sums = torch.where(positive, logits - total, 0).sum(dim=1)
        factor = self.temperature / self.base_temperature
        return -factor * (sums / positive.sum(dim=1).clamp(min=1)).mean()


class SimCLR(nn.Module):
    """Cross-entropy of picking a vector's other view among all other vectors of the batch.

    Rows 2 i and 2 i + 1 are the two views of a sequence; vectors are scaled to unit length. Who the
    subjects are does not matter: other sequences of the same person are told apart too.

    Args:
        temperature: of the softmax.

    Source: Chen et al. 2020, arXiv 2002.05709, equation 1.
    """

    def __init__(self, temperature: float) -> None:
        if temperature <= 0:
            raise InputError(f"temperature is {temperature}; give more than 0")
        super().__init__()
        self.temperature = temperature

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """Scalar loss of vectors (2 B, D); ``subject`` is not looked at.

        Raises:
            InputError: if their number is odd.
        """
        if len(embedding) % 2:
            raise InputError(
                f"SimCLR compares two views of each sequence, found {len(embedding)} windows; give "
                "data.train_windows 2"
            )
        logits = _logits(F.normalize(embedding, eps=1e-12), self.temperature)
        logits = logits.clone().fill_diagonal_(-torch.inf)
        other = torch.arange(len(logits), device=logits.device) ^ 1
        return F.cross_entropy(logits, other)


class AttributeLoss(nn.Module):
    """Binary cross-entropy of told against given probabilities, the mean over walks and attributes.

    Where one is exactly 0 or 1 its logarithm counts as -100.

    Source: Cosma and Radoi 2022, doi 10.3390/s22186803, whose attributes are themselves told by
    networks: probabilities between 0 and 1.
    """

    def forward(self, told: Tensor, given: Tensor) -> Tensor:
        """Scalar loss of probabilities (B, A) against probabilities (B, A)."""
        with without_autocast(told):
            return F.binary_cross_entropy(told, given.to(told.dtype))


def _logits(embedding: Tensor, temperature: float) -> Tensor:
    """Dot products (B, B) over the temperature, in float32 at least.

    Cosines of less precision would be lost at temperatures such as 0.001.
    """
    with without_autocast(embedding):
        embedding = precise(embedding)
        return embedding @ embedding.mT / temperature


def unit_distances(embedding: Tensor) -> Tensor:
    """Euclidean distances (B, B) of embeddings (B, D) scaled to unit length."""
    with without_autocast(embedding):
        unit = F.normalize(precise(embedding))
        return torch.cdist(unit, unit)


def _contrast(logits: Tensor, subject: Tensor) -> Tensor:
    """Supervised contrastive loss of each of B vectors, (B,), of logits (B, B).

    It is 0 where a vector has no positive, and everywhere in a batch of one subject.
    """
    same = subject[:, None] == subject
    itself = torch.eye(len(same), dtype=torch.bool, device=same.device)
    positive = same & ~itself
    # a finite value, so that a batch of one has a gradient
    others = logits.masked_fill(itself, torch.finfo(logits.dtype).min)
    excess = torch.where(positive, others.logsumexp(dim=1, keepdim=True) - logits, 0)
    loss = excess.sum(dim=1) / positive.sum(dim=1).clamp(min=1)
    return torch.where(same.all(), 0, loss)


def _mean_above_zero(values: Tensor) -> Tensor:
    """Mean of the values that are above 0, and 0 where none is."""
    above = values > 0
    return torch.where(above, values, 0).sum() / above.sum().clamp(min=1)


def locality_mask(frames: int) -> Tensor:
    """How near each encoded frame lies to the one that a decoder step should draw, (T, T) float32.

    A decoder that draws in reverse order should look at frame T - 1 - t in step t. The mask is 1
    there and falls off as exp(-d^2 / (2 s^2)) with the distance d in frames, s = T / 2.

    Source: Rao et al. 2020, arXiv 2008.09435, authors' program.
    """
    step, frame = torch.arange(frames, dtype=torch.float64), torch.arange(frames)
    distance = frame - (frames - 1 - step[:, None])
    return torch.exp(-2 * (distance / frames).square()).float()


class GaitEncodingLoss(nn.Module):
    """Errors of drawn frames, and of attention far from where it should be, as sums.

    Reconstruction is half the sum of squared errors over sequences, frames and joints; locality is
    half the sum of squares of A (1 - mask), with the alignments A. They are sums and no means, so
    that their weight against an L2 term grows with the batch, as in the authors' program.

    Args:
        frames: T.
        attention: ``locality``, or ``basic``, which leaves the second term out.

    Source: Rao et al. 2020, arXiv 2008.09435, authors' program.
    """

    off: Tensor

    def __init__(self, frames: int, attention: Literal["locality", "basic"] = "locality") -> None:
        super().__init__()
        self.attention = attention
        self.register_buffer("off", 1 - locality_mask(frames), persistent=False)

    def forward(self, outputs: Tensor, target: Tensor, alignments: Tensor) -> tuple[Tensor, Tensor]:
        """Both terms of each axis.

        Args:
            outputs: (B, T, V, A).
            target: the same shape.
            alignments: (A, B, T, T).

        Returns:
            reconstruction (A,), locality (A,): zeros with basic attention.
        """
        error = 0.5 * (outputs - target).square().sum(dim=(0, 1, 2))
        if self.attention == "basic":
            return error, torch.zeros_like(error)
        return error, 0.5 * (alignments * self.off).square().sum(dim=(1, 2, 3))


def half_squares(weights: Iterable[Tensor]) -> Tensor:
    """Half the sum of squares of all weights: what an L2 coefficient is multiplied with."""
    return 0.5 * torch.stack([weight.square().sum() for weight in weights]).sum()


class NeighbourContrast(nn.Module):
    """Cross-entropy of picking a sequence's neighbour in the batch among all its sequences.

    Vectors v_1 ... v_(B-1) and v_0 ... v_(B-2) are 2 (B - 1) rows; each row i of the first half
    pairs with row i of the second, both ways. Almost every vector stands in both halves, so that an
    anchor has its own copy among what it shall be told from. Neighbours are whatever the order of
    the batch makes them.

    Args:
        temperature: by which cosines are divided.

    Source: Rao et al. 2021, arXiv 2009.03671, authors' program.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        if temperature <= 0:
            raise InputError(f"temperature is {temperature}; give more than 0")
        super().__init__()
        self.temperature = temperature

    def forward(self, vectors: Tensor) -> Tensor:
        """Loss of each axis, (A,), of vectors (A, B, D).

        Raises:
            InputError: if there are fewer than 2 sequences.
        """
        axes, batch, _ = vectors.shape
        if batch < 2:
            raise InputError(f"neighbours need a batch of 2 sequences or more, found {batch}")
        pairs = batch - 1
        logits = _logits(F.normalize(vectors, dim=-1), self.temperature)
        place = torch.arange(2 * pairs, device=vectors.device)
        vector = torch.cat([place[:pairs] + 1, place[:pairs]])
        logits = logits[:, vector[:, None], vector]
        logits = logits.masked_fill(place[:, None] == place, -torch.inf)
        other = (place + pairs) % (2 * pairs)
        loss = F.cross_entropy(logits.flatten(0, 1), other.repeat(axes), reduction="none")
        return loss.view(axes, -1).mean(dim=1)


class SignatureLoss(nn.Module):
    """How far codes are from the signatures that they should copy.

    Args:
        form: ``smooth_l1``, the sum over batch and values of e^2 / 2 where e is below delta, else
            of delta (e - delta / 2); ``huber``, the mean of the same; ``mse``, the mean of e^2. The
            sum makes gradients grow with the batch.
        delta: where the square ends.
        unit: codes of length one are compared, as signatures have; off as published.

    Source: Delgado-Escano et al. 2021, IEEE Access 9, document 9646881, authors' program: sums, and
    a delta of 0.5.
    """

    def __init__(
        self,
        form: Literal["smooth_l1", "huber", "mse"] = "smooth_l1",
        delta: float = 0.5,
        unit: bool = False,
    ) -> None:
        if delta <= 0:
            raise InputError(f"delta is {delta}; give more than 0")
        super().__init__()
        self.form = form
        self.delta = delta
        self.unit = unit

    def forward(self, code: Tensor, signature: Tensor) -> Tensor:
        """Scalar loss of codes (B, D) against signatures (B, D)."""
        code = precise(code)
        if self.unit:
            code = F.normalize(code)
        signature = signature.to(code.dtype)
        if self.form == "mse":
            return F.mse_loss(code, signature)
        reduction = "sum" if self.form == "smooth_l1" else "mean"
        return F.huber_loss(code, signature, reduction=reduction, delta=self.delta)


def _distances(points: Tensor, squared: bool = False) -> Tensor:
    """Euclidean distances (S, B, B) of points (S, B, D); those of 0 have no gradient."""
    with without_autocast(points):
        points = precise(points)
        # a product about the middle loses fewer digits
        points = points - points.detach().mean(dim=1, keepdim=True)
        product = points @ points.mT
        lengths = product.diagonal(dim1=1, dim2=2)
        distance = (lengths[:, :, None] + lengths[:, None] - 2 * product).clamp(min=0)
        if squared:
            return distance
        near = distance == 0
        return distance.masked_fill(near, 1).sqrt().masked_fill(near, 0)


class MinedTriplet(nn.Module):
    """What the triplet losses of embeddings share; they differ in the triplets that they take.

    Args:
        margin: by which a negative shall be farther than a positive.
        unit: measure between unit vectors, otherwise between embeddings as they are.
        squared: take squared distances.
        parts: how many vectors an embedding is made of, each of which has triplets of its own.
    """

    def __init__(
        self,
        margin: float | None = 0.25,
        unit: bool = True,
        squared: bool = False,
        parts: int = 1,
    ) -> None:
        if margin is not None and margin <= 0:
            raise InputError(f"triplet margin is {margin}; give more than 0")
        super().__init__()
        self.margin = margin
        self.unit = unit
        self.squared = squared
        self.parts = parts

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """Scalar loss of embeddings (B, D) of subjects (B,)."""
        parts = precise(embedding).reshape(len(embedding), self.parts, -1).transpose(0, 1)
        if self.unit:
            parts = F.normalize(parts, dim=-1, eps=1e-6)
        return self.mine(_distances(parts, self.squared), subject[:, None] == subject).mean()

    def mine(self, distance: Tensor, same: Tensor) -> Tensor:
        """Loss of each part, (S,).

        Args:
            distance: (S, B, B).
            same: whether two are of the same subject, (B, B).
        """
        raise NotImplementedError

    def excess(self, positive: Tensor, negative: Tensor) -> Tensor:
        """By how much a negative is too near."""
        if self.margin is None:
            return F.softplus((positive - negative).clamp(-100, 100))
        return F.relu(positive - negative + self.margin)


class BatchAllTriplet(MinedTriplet):
    """Mean over all triplets of a batch that lack something to the margin; 0 if none does.

    No triplet is written down: how often a distance counts follows from its place among the others
    of its anchor, in order. Its memory grows with parts times the square of the batch.

    Args:
        margin: see :class:`MinedTriplet`, as the others.
        unit: whether embeddings are scaled.
        squared: whether distances are squared.
        parts: vectors of an embedding: 62 of GaitSet. The loss is the mean over parts.
        itself: also take each anchor as its own positive at distance 0, as GaitSet does.

    Source: Hermans et al. 2017, arXiv 1703.07737; margin 0.2, 62 parts and ``itself``: Chao et al.
    2019, arXiv 1811.06186, authors' program.
    """

    def __init__(
        self,
        margin: float = 0.25,
        unit: bool = True,
        squared: bool = False,
        parts: int = 1,
        itself: bool = False,
    ) -> None:
        super().__init__(margin, unit, squared, parts)
        self.itself = itself

    def mine(self, distance: Tensor, same: Tensor) -> Tensor:
        """Loss of each part, (S,), of distances (S, B, B)."""
        positive = same if self.itself else same.clone().fill_diagonal_(False)
        assert self.margin is not None
        with torch.no_grad():
            # a triplet counts where its negative is nearer than this
            limit = distance + self.margin
            limits = limit.masked_fill(~positive, -torch.inf).sort(dim=2).values
            negatives = distance.masked_fill(same, torch.inf).sort(dim=2).values
            nearer = torch.searchsorted(negatives, limit) * positive
            farther = (len(same) - torch.searchsorted(limits, distance, right=True)) * ~same
            count = nearer.sum(dim=(1, 2))
            # each anchor has as many terms of one sign as of the other: a common shift is none
            middle = distance.mean(dim=2, keepdim=True)
        excess = ((nearer - farther) * (distance - middle)).sum(dim=(1, 2))
        return (excess + self.margin * count) / count.clamp(min=1)


class SemiHardTriplet(MinedTriplet):
    """Mean over all pairs of a subject, each with its nearest negative that is farther off.

    Where no negative is farther than the positive, it is the farthest one; where a batch has no
    negative at all, one at distance 0 takes its place, as in TensorFlow Addons. With a margin of
    None it is the softplus of the difference that counts, and the GaitCopy teacher of that kind
    takes squared distances.

    Source: Schroff et al. 2015, arXiv 1503.03832, section 3.2; margin 0.25: Delgado-Escano et al.
    2021, authors' program.
    """

    def mine(self, distance: Tensor, same: Tensor) -> Tensor:
        """Loss of each part, (S,), of distances (S, B, B)."""
        far = distance.masked_fill(same, -torch.inf).amax(dim=2)
        far = torch.where(same.all(dim=1), 0, far)
        # negatives in order, so that the nearest of those farther off than a positive is the next
        negatives = distance.masked_fill(same, torch.inf).sort(dim=2).values
        place = torch.searchsorted(negatives.detach(), distance.detach(), right=True)
        farther = F.pad(negatives, (0, 1), value=torch.inf).gather(2, place)
        negative = torch.where(farther.isinf(), far[:, :, None], farther)
        positive = same.clone().fill_diagonal_(False)
        excess = torch.where(positive, self.excess(distance, negative), 0)
        return excess.sum(dim=(1, 2)) / positive.sum().clamp(min=1)


class HardTriplet(MinedTriplet):
    """Mean over anchors, each with its farthest positive and its nearest negative.

    Source: Hermans et al. 2017, arXiv 1703.07737, "batch hard".
    """

    def mine(self, distance: Tensor, same: Tensor) -> Tensor:
        """Loss of each part, (S,), of distances (S, B, B)."""
        positive = distance.masked_fill(~same, -torch.inf).amax(dim=2)
        negative = distance.masked_fill(same, torch.inf).amin(dim=2)
        return self.excess(positive, negative).mean(dim=1)


class LinearClassification(nn.Module):
    """Cross-entropy over the training subjects, by one layer on the embedding as it is.

    Args:
        embedding_dim: D.
        num_subjects: training subjects, counted from 0.
        released: take the layer's outputs for probabilities, held within 1e-7 and 1 - 1e-7, as the
            authors' GaitSet student does: beyond them there is no gradient.

    Source: Delgado-Escano et al. 2021, IEEE Access 9, document 9646881, authors' program.
    """

    def __init__(self, embedding_dim: int, num_subjects: int, released: bool = False) -> None:
        if num_subjects < 2:
            raise InputError(
                f"a classifier needs at least 2 training subjects, found {num_subjects}; set its "
                "weight to 0 or mend data.split"
            )
        super().__init__()
        self.released = released
        self.probs = nn.Linear(embedding_dim, num_subjects)
        nn.init.kaiming_uniform_(self.probs.weight, nonlinearity="relu")
        nn.init.zeros_(self.probs.bias)

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """Scalar loss of embeddings (B, D) of subjects (B,)."""
        return class_loss(exactly(self.probs, embedding), subject, self.released)


def class_loss(scores: Tensor, subject: Tensor, released: bool = False) -> Tensor:
    """Cross-entropy of scores (B, C); for ``released`` see :class:`LinearClassification`."""
    return F.cross_entropy(scores.clamp(1e-7, 1 - 1e-7).log() if released else scores, subject)
