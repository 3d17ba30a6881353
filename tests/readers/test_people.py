import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitbench.oumvlp import PERSONS
from gaitbench.readers.people import STRIDE, choose

FRAMES = 25


def walker(random: np.random.Generator, height: float = 400.0, speed: float = 30.0):
    """(25, 18, 3): a person who crosses the image, joints swinging."""
    body = random.random((18, 2)) * (height / 3, height)
    body[:2, 1] = 0, height  # whose joints span the height
    time = np.arange(FRAMES)[:, None]
    swing = 0.03 * height * np.sin(time + np.arange(18))
    x, y = body[:, 0] + speed * time + swing, body[:, 1] + 300 + 0 * swing
    return np.stack([x, y, np.full_like(x, 0.7)], axis=-1).astype(np.float32)


def still(random: np.random.Generator, height: float, confidence: float):
    """(25, 18, 3): a person who stands in the way of the walker, as an estimator trembles."""
    pose = walker(random, height, speed=0) * (1, 1, 0) + (400, 50, confidence)
    pose[..., :2] = pose[0, :, :2] + random.normal(0, 0.5, (FRAMES, 18, 2))
    return pose.astype(np.float32)


def flat(frames):
    """Candidates and their number, of a list of lists of poses."""
    listed = np.array([len(people) for people in frames])
    return np.array([pose for people in frames for pose in people], np.float32), listed


def chosen_poses(person, frames, length=None):
    candidates, listed = flat(frames)
    length = np.array([len(frames)]) if length is None else length
    return candidates[choose(person, candidates, listed, length)]


def naive_height(pose):
    y = [joint[1] for joint in pose if joint[2] > 0]
    return max(y) - min(y) if y else 0.0


def test_first_largest_and_most_confident_equal_naive_choices():
    random = np.random.default_rng(0)
    frames = [list(random.random((random.integers(1, 5), 18, 3))) for _ in range(50)]
    for people in frames:
        for pose in people:
            pose[random.random(18) < 0.3] = 0
    frames[7][0][:] = 0
    naive = {
        "first": lambda people: people[0],
        "largest": lambda people: max(people, key=naive_height),
        "most_confident": lambda people: max(people, key=lambda pose: pose[:, 2].mean()),
    }
    for person, pick in naive.items():
        expected = np.array([pick(people) for people in frames], np.float32)
        np.testing.assert_array_equal(chosen_poses(person, frames), expected)


@pytest.mark.parametrize("person", PERSONS)
def test_frames_of_one_person(person):
    poses = walker(np.random.default_rng(1))
    np.testing.assert_array_equal(chosen_poses(person, [[pose] for pose in poses]), poses)
    nothing = np.empty((0, 18, 3), np.float32), np.empty(0, int), np.zeros(3, int)
    assert choose(person, *nothing).shape == (0,)


def test_an_unknown_way():
    with pytest.raises(ValueError, match="'tallest'"):
        choose("tallest", np.zeros((2, 18, 3), np.float32), np.array([2]), np.array([1]))


@pytest.mark.parametrize(("height", "confidence"), [(200, 0.7), (400, 0.35), (250, 0.6)])
def test_a_bystander_does_not_win_by_not_moving(height, confidence):
    random = np.random.default_rng(2)
    me, other = walker(random), still(random, height, confidence)
    frames = [[b, a] if i % 3 else [a, b] for i, (a, b) in enumerate(zip(me, other, strict=True))]
    np.testing.assert_array_equal(chosen_poses("smoothest", frames), me)
    assert (chosen_poses("first", frames) != me).any()


def test_a_moment_in_which_the_other_looks_better():
    random = np.random.default_rng(3)
    me, other = walker(random), still(random, 330, 0.6)
    me[2:4, :, 2] *= 0.3  # as behind something
    me[3, [0, 1, *range(5, 18)]] = 0
    frames = [[a, b] for a, b in zip(me, other, strict=True)]
    np.testing.assert_array_equal(chosen_poses("smoothest", frames), me)
    for person in ("largest", "most_confident"):
        assert (chosen_poses(person, frames) != me).any(axis=(1, 2)).sum() in (1, 2)


def test_someone_who_is_there_for_some_frames_only():
    random = np.random.default_rng(4)
    me, two, three = walker(random), still(random, 220, 0.5), still(random, 150, 0.9)
    frames = [[pose] for pose in me]
    for i in range(5, 9):
        frames[i] = [two[i], me[i], three[i]]
    frames[20] = [three[20], me[20]]
    np.testing.assert_array_equal(chosen_poses("smoothest", frames), me)
    # the walker is missed once: the path goes through whoever is listed, and back
    frames[7] = [two[7]]
    expected = me.copy()
    expected[7] = two[7]
    np.testing.assert_array_equal(chosen_poses("smoothest", frames), expected)


def naive_smoothest(frames):
    """The least cost over all paths, one by one."""

    def step(a, b, scale):
        both = [(p, q) for p, q in zip(a, b, strict=True) if p[2] > 0 and q[2] > 0]
        if not both:
            return 1 - STRIDE
        way = sum(np.hypot(p[0] - q[0], p[1] - q[1]) for p, q in both) / len(both)
        return max(0.0, way / scale - STRIDE)

    scale = np.median([max(map(naive_height, people)) for people in frames])

    def cost(path):
        total = 0.0
        for people, pose in zip(frames, path, strict=True):
            tallest = max(map(naive_height, people))
            surest = max(other[:, 2].mean() for other in people)
            total += 1 - (naive_height(pose) / tallest + pose[:, 2].mean() / surest) / 2
        return total + sum(step(a, b, scale) for a, b in itertools.pairwise(path))

    return np.array(min(itertools.product(*frames), key=cost), np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_smoothest_equals_the_least_of_all_paths_in_any_order(seed):
    random = np.random.default_rng(seed)
    count = random.integers(1, 4, 6)
    frames = [list(random.random((n, 18, 3)).astype(np.float32)) for n in count]
    for people in frames:
        for pose in people:
            pose[random.random(18) < 0.4] = 0
            pose[0] = random.random(3) + 0.1  # so that heights are no accident of nothing
            pose[1] = random.random(3) + 0.1
    expected = naive_smoothest(frames)
    np.testing.assert_array_equal(chosen_poses("smoothest", frames), expected)
    length = np.array([3, 0, 6, 1])
    several = [*frames[:3], *frames, frames[0]]
    together = chosen_poses("smoothest", several, length)
    np.testing.assert_array_equal(together[3:9], expected)


@pytest.mark.parametrize("person", PERSONS[1:])
def test_the_order_in_which_people_are_listed_is_no_matter(person):
    random = np.random.default_rng(5)
    tracks = [walker(random), still(random, 400, 0.7), still(random, 400, 0.7)]
    tracks[2][..., 1:] = tracks[1][..., 1:]  # as tall and as sure: a tie
    frames = [list(people) for people in zip(*tracks, strict=True)]
    expected = chosen_poses(person, frames)
    for _ in range(5):
        shuffled = [[people[i] for i in random.permutation(3)] for people in frames]
        np.testing.assert_array_equal(chosen_poses(person, shuffled), expected)


@pytest.mark.parametrize("person", PERSONS)
def test_people_without_any_joint(person):
    nobody = np.zeros((18, 3), np.float32)
    someone = walker(np.random.default_rng(6))
    assert (chosen_poses(person, [[nobody, nobody]] * 3) == 0).all()
    if person != "first":
        frames = [[nobody, pose] for pose in someone]
        np.testing.assert_array_equal(chosen_poses(person, frames), someone)


def test_confidences_below_zero_are_none() -> None:
    """What is far below zero, beside the least there is, would be more than float32 holds."""
    walks, doubtful = walker(np.random.default_rng(0)), walker(np.random.default_rng(1))
    walks[..., 2], doubtful[..., 2] = 1e-38, -3e37
    frames = [[doubt, sure] for doubt, sure in zip(doubtful, walks, strict=True)]
    np.testing.assert_array_equal(chosen_poses("smoothest", frames), walks)
