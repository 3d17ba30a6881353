"""Losses of embeddings and subjects, put together from pytorch-metric-learning."""

from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss, SupConLoss
from torch import Tensor, nn

from gaitbench.errors import InputError


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
        self.loss = SupConLoss(temperature=temperature, distance=LpDistance())

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """Scalar loss of embeddings (B, D) of subjects (B,)."""
        loss: Tensor = self.loss(embedding, subject)
        return loss


class PairContrastive(nn.Module):
    """Contrastive loss: the validation figure of GaitGraph2.

    Mean distance of positive pairs (those above 0) plus mean of 1 - d over the negative pairs
    nearer than 1, on unit vectors.

    Source: authors' code of Teepe et al. 2022, arXiv 2204.07855 (margins 0 and 1).
    """

    def __init__(self) -> None:
        super().__init__()
        self.loss = ContrastiveLoss(pos_margin=0, neg_margin=1, distance=LpDistance())

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        """Scalar loss of embeddings (B, D) of subjects (B,)."""
        loss: Tensor = self.loss(embedding, subject)
        return loss
