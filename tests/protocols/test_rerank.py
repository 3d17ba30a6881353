import math

import pytest
import torch

from gaitbench.protocols.rerank import k_reciprocal_distances


def literal(points, num_probes, k1, k2, weight):
    """The paper's equations, one set and one sum at a time."""
    n = len(points)
    d = [[float((a - b).square().sum()) for b in points] for a in points]
    for row in d:
        largest = max(row)
        row[:] = [x / largest for x in row]
    nearest = [sorted(range(n), key=lambda j, i=i: (d[i][j], j)) for i in range(n)]

    def mutual(i, k):
        return {j for j in nearest[i][: k + 1] if i in nearest[j][: k + 1]}

    vectors = []
    for i in range(n):
        whole = set(mutual(i, k1))
        for q in mutual(i, k1):
            half = mutual(q, round(k1 / 2))
            if len(half & mutual(i, k1)) >= 2 / 3 * len(half):
                whole |= half
        raw = [math.exp(-d[i][j]) if j in whole else 0.0 for j in range(n)]
        vectors.append([x / sum(raw) for x in raw])
    mean = [[sum(vectors[j][m] for j in nearest[i][:k2]) / k2 for m in range(n)] for i in range(n)]
    result = []
    for i in range(num_probes):
        row = []
        for j in range(num_probes, n):
            low = sum(map(min, mean[i], mean[j]))
            high = sum(map(max, mean[i], mean[j]))
            row.append(weight * d[i][j] + (1 - weight) * (1 - low / high))
        result.append(row)
    return torch.tensor(result)


@pytest.mark.parametrize(("k1", "k2", "weight"), [(6, 3, 0.3), (5, 1, 0.0), (10, 6, 0.5)])
def test_against_the_equations(k1, k2, weight) -> None:
    generator = torch.Generator().manual_seed(k1)
    centres = torch.randn(5, 8, generator=generator)
    points = centres.repeat(6, 1) + 0.7 * torch.randn(30, 8, generator=generator)
    got = k_reciprocal_distances(
        points, torch.arange(10), torch.arange(10, 30), "euclidean", k1=k1, k2=k2, weight=weight
    )
    torch.testing.assert_close(got, literal(points.double(), 10, k1, k2, weight), atol=1e-5, rtol=0)


def test_small_sets() -> None:
    points = torch.tensor([[0.0], [1.0], [0.1]])
    got = k_reciprocal_distances(points, torch.tensor([0]), torch.tensor([1, 2]), "l1")
    assert got.shape == (1, 2)
    assert got.isfinite().all()
    assert got[0, 1] < got[0, 0]
