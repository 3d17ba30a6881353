"""ResGCN against the published counts and a plain formulation."""

import importlib.util
from pathlib import Path

import pytest
import torch

from gaitbench.backbones import ResGCN
from gaitbench.errors import InputError
from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "train_step.py"
spec = importlib.util.spec_from_file_location("train_step", BENCHMARK)
assert spec is not None and spec.loader is not None
train_step = importlib.util.module_from_spec(spec)
spec.loader.exec_module(train_step)  # holds the plain formulation


# Trainable parameters by name for 1x3, 1x15, 3x5 and 3x6 (branches x channels), COCO, D = 128
SHAPES = ((1, 3), (1, 15), (3, 5), (3, 6))
COUNTS = {
    "resgcn-b15": (2021442, 2023770, 2273074, 2273656),
    "resgcn-b19": (3009866, 3012194, 3261498, 3262080),
    "resgcn-b23": (3259474, 3261802, 3612746, 3613328),
    "resgcn-b29": (4446686, 4449014, 4799958, 4800540),
    "resgcn-n21": (1490102, 1492430, 1628574, 1629156),
    "resgcn-n21-r2": (596822, 599150, 707198, 707780),
    "resgcn-n21-r4": (336806, 339134, 437742, 438324),
    "resgcn-n21-r8": (253454, 255782, 350822, 351404),
    "resgcn-n39-r1": (2878786, 2881114, 3153202, 3153784),
    "resgcn-n39-r2": (1036194, 1038522, 1191506, 1192088),
    "resgcn-n39-r4": (495058, 497386, 613858, 614440),
    "resgcn-n39-r8": (319530, 321858, 425834, 426416),
    "resgcn-n51-r1": (4199498, 4201826, 4473914, 4474496),
    "resgcn-n51-r2": (1453098, 1455426, 1608410, 1608992),
    "resgcn-n51-r4": (644378, 646706, 763178, 763760),
    "resgcn-n51-r8": (381138, 383466, 487442, 488024),
    "resgcn-n57-r1": (4533330, 4535658, 4943690, 4944272),
    "resgcn-n57-r2": (1560306, 1562634, 1760554, 1761136),
    "resgcn-n57-r4": (684354, 686682, 821018, 821600),
    "resgcn-n57-r8": (399018, 401346, 514258, 514840),
    "resgcn-n75-r1": (6119902, 6122230, 6530262, 6530844),
    "resgcn-n75-r2": (2061950, 2064278, 2262198, 2262780),
    "resgcn-n75-r4": (864718, 867046, 1001382, 1001964),
    "resgcn-n75-r8": (474038, 476366, 589278, 589860),
}
ATTENTION_COUNTS = {  # 3x5, of n21-r8 and b19
    "pa": (476678, 3639066),
    "ca": (393222, 3388698),
    "fa": (351628, 3263916),
    "ja": (352216, 3265680),
    "pca": (565158, 3904506),
    "psa": (482086, 3655290),
}


def count(name: str, skeleton: Skeleton, branches: int, channels: int) -> int:
    with torch.device("meta"):
        model = ResGCN(name, skeleton, branches, channels)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name: str) -> None:
    assert tuple(count(name, COCO17, *shape) for shape in SHAPES) == COUNTS[name]


@pytest.mark.parametrize("prefix", ATTENTION_COUNTS)
def test_parameter_counts_with_attention(prefix: str) -> None:
    names = (f"{prefix}-resgcn-n21-r8", f"{prefix}-resgcn-b19")
    assert tuple(count(name, COCO17, 3, 5) for name in names) == ATTENTION_COUNTS[prefix]


def test_parameter_counts_of_openpose() -> None:
    counts = {
        ("n51-r4", 3, 5): 765278,
        ("n51-r4", 1, 3): 645638,
        ("n39-r8", 3, 5): 427654,
        ("n21-r8", 3, 5): 351942,
    }
    for (name, *shape), expected in counts.items():
        assert count(f"resgcn-{name}", OPENPOSE18, *shape) == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet-n21-r8", ["form"]),
        ("resgcn", ["form"]),
        ("resgcn-n21-r8-x", ["form"]),
        ("resgcn-n22-r8", ["structure 'n22'", "b15, b19"]),
        ("resgcn-n21-r3", ["reduction 'r3'", "r1, r2, r4, r8"]),
        ("qa-resgcn-n21-r8", ["attention 'qa'", "pa, ca, fa, ja, pca, psa"]),
        ("", ["form"]),
    ],
)
def test_unknown_names(name: str, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        ResGCN(name, COCO17, 3, 5)
    assert all(word in str(error.value) for word in (repr(name), *words))


def test_initial_weights() -> None:
    torch.manual_seed(0)
    model = ResGCN("resgcn-n39-r4", COCO17, 3, 5)
    for name, parameter in model.named_parameters():
        value = parameter.detach()
        if name.endswith("bias"):
            assert not value.any(), name
        elif name.endswith("edge") or (value.ndim == 1 and not name.endswith("bn_up.weight")):
            assert (value == 1).all(), name
        elif value.ndim == 1:
            assert not value.any(), name
        else:
            expected = 0.001 if name == "fcn.weight" else (2 / (len(value) * value.shape[2])) ** 0.5
            assert value.std() == pytest.approx(expected, rel=5 / value.numel() ** 0.5), name
    attentive = ResGCN("pa-resgcn-n21-r8", COCO17, 3, 5).state_dict()
    assert (attentive["main_stream.0.tcn.bn_up.weight"] == 1).all()
    assert (attentive["input_branches.0.layers.1.tcn.bn_up.weight"] == 0).all()


def randomised(name: str, branches: int, channels: int) -> ResGCN:
    """A network whose every parameter and statistic matters."""
    torch.manual_seed(0)
    model = ResGCN(name, COCO17, branches, channels).double()
    for key, value in model.state_dict().items():
        if not key.endswith(("A", "tracked")):
            if value.ndim == 1 or key.endswith("edge"):
                value += torch.rand_like(value) / 2
            elif key == "fcn.weight":
                value *= 100
    return model


@pytest.mark.parametrize(
    ("name", "branches", "channels", "frames"),
    [
        ("resgcn-n21-r8", 3, 5, 13),
        ("resgcn-n39-r4", 1, 15, 8),
        ("resgcn-n21-r1", 1, 3, 5),
        ("resgcn-b15", 2, 5, 7),
    ],
)
def test_same_as_plain(name: str, branches: int, channels: int, frames: int) -> None:
    """Embedding, feature map, gradients and running statistics of the formulation as described."""
    model = randomised(name, branches, channels)
    plain = train_step.PlainResGCN(name, COCO17, branches, channels).double()
    plain.load_state_dict(model.state_dict(), strict=True)
    streams = torch.randn(3, frames, 17, branches, channels).double()
    for training in (True, False):
        model.train(training), plain.train(training)
        outputs, expected = model(streams), plain(streams)
        for ours, theirs in zip(outputs, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
        model.zero_grad(), plain.zero_grad()
        outputs[0].square().sum().backward()
        expected[0].square().sum().backward()
        for key, ours in model.named_parameters():
            theirs = plain.get_parameter(key)
            scale = float(theirs.grad.abs().max()) + 1e-3  # biases before a norm: rounding noise
            assert (ours.grad - theirs.grad).abs().max() < 1e-9 * scale, key
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=1e-9, atol=1e-9)


def test_float32_is_near_float64() -> None:
    model = randomised("resgcn-n21-r8", 3, 5)
    exact = model.train()(x := torch.randn(4, 20, 17, 3, 5).double())[0]
    rounded = model.float()(x.float())[0]
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("prefix", ["", "pa-", "ca-", "fa-", "ja-", "pca-", "psa-"])
def test_batch_of_one(prefix: str, training: bool) -> None:
    model = randomised(f"{prefix}resgcn-n21-r8", 3, 5).train(training)
    embedding, feature_map = model(torch.randn(1, 6, 17, 3, 5).double())
    assert embedding.shape == (1, 128) and feature_map.shape == (1, 256, 2, 17)
    embedding.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(torch.isfinite(v).all() for v in model.state_dict().values())


@pytest.mark.parametrize("training", [True, False])
def test_order_of_batch(training: bool) -> None:
    model = randomised("pa-resgcn-n21-r8", 1, 15).train(training)
    streams, order = torch.randn(5, 9, 17, 1, 15).double(), torch.randperm(5)
    torch.testing.assert_close(model(streams)[0][order], model(streams[order])[0])


def test_embedding_does_not_depend_on_neighbours_in_evaluation() -> None:
    model = randomised("resgcn-n21-r8", 3, 5).eval()
    streams = torch.randn(4, 9, 17, 3, 5).double()
    alone = torch.cat([model(one[None])[0] for one in streams])
    torch.testing.assert_close(model(streams)[0], alone)


def test_bfloat16_autocast() -> None:
    model = randomised("resgcn-n21-r8", 3, 5).float()
    streams = torch.randn(4, 12, 17, 3, 5)
    exact = model(streams)[0]
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(streams)[0]
    assert torch.cosine_similarity(rough.float(), exact).min() > 0.99
    rough.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_traces_without_graph_breaks() -> None:
    model = randomised("resgcn-n21-r8", 1, 5)
    streams = torch.randn(2, 6, 17, 1, 5).double()
    expected = model(streams)[0]
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(streams)[0], expected)
