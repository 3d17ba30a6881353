import numpy as np
import pytest

from gaitbench.video import people as module
from gaitbench.video.people import (
    Body,
    Tracker,
    background,
    bodies,
    foreground,
    sampled,
    shrunken,
    threshold,
)
from tests.video.films import HEIGHT, WIDTH, place, room, walk


def test_pictures_are_made_smaller_by_whole_numbers():
    image = np.random.default_rng(0).integers(0, 256, (500, 300, 3)).astype(np.uint8)
    assert shrunken(image[:240]) is not image
    np.testing.assert_array_equal(shrunken(image[:240]), image[:240])
    small = shrunken(image)
    assert small.shape == (166, 100, 3)
    np.testing.assert_allclose(small[5, 7], image[15:18, 21:24].mean(axis=(0, 1)), atol=1.01)


@pytest.mark.parametrize("count", [1, 30, 96, 97, 500])
def test_samples_are_spread_over_the_video(count):
    images = (np.full((4, 4, 3), min(i // 2, 255), np.uint8) for i in range(count))
    samples, length = sampled(images)
    assert length == count
    assert len(samples) == min(count, module.SAMPLES)
    times = samples[:, 0, 0, 0].astype(int)
    assert times[0] == 0
    assert times[-1] >= (count - 1) // 2 - count // module.SAMPLES
    steps = np.diff(times)
    assert (steps >= 0).all()
    assert steps.max(initial=0) <= 1.5 * count / module.SAMPLES / 2 + 1


def test_who_stands_still_for_long_is_no_background():
    """Four people stand in one place for two thirds of the time, one after another."""
    rng = np.random.default_rng(1)
    empty = room(3)
    samples = np.tile(empty, (48, 1, 1, 1)).astype(int)
    for begin, cloth in ((2, 15), (14, 15), (26, 60), (38, 90)):
        samples[begin : begin + 8, 20:80, 50:74] = cloth
    samples = (samples + rng.integers(-3, 4, samples.shape)).clip(0, 255).astype(np.uint8)
    assert (np.median(samples, axis=0)[50, 60] < 95).all()  # what many would take
    found = background(samples)
    assert np.abs(found.astype(int) - empty).max() <= 4
    assert threshold(samples, found) == module.FAINTEST


def test_foreground_leaves_out_specks_and_what_is_faint():
    empty = room()
    image = empty.copy()
    image[20:80, 50:74] = 10
    image[5, 5] = 0
    image[60:80, 84:120] -= 30  # a shadow
    mask = foreground(image, empty, 20)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[20:80, 50:74] = True
    assert (mask ^ expected).mean() < 0.005
    assert not mask[:, 80:].any()


def test_pieces_that_are_near_are_one_body():
    mask = np.zeros((200, 300), bool)
    mask[20:60, 40:60] = mask[66:150, 35:65] = True  # head and trunk
    mask[30:150, 200:240] = True  # somebody else
    mask[180:182, 100:102] = True  # too small
    image = np.zeros((200, 300, 3), np.uint8)
    found = bodies(mask, image, image + 200)
    first, second = sorted(found, key=lambda body: body.box[0])
    assert first.box.tolist() == [35, 20, 65, 150]
    assert second.box.tolist() == [200, 30, 240, 150]
    assert first.mask.shape == (130, 30)
    assert first.mask.sum() == 40 * 20 + 84 * 30


def test_shadows_are_left_out_at_the_feet_alone():
    empty = room(2, 200, 304)
    image, person = empty.copy(), np.zeros((200, 304), bool)
    person[30:190, 100:140] = True
    image[person] = (90, 20, 30)
    image[60:100, 100:140] = empty[60:100, 100:140] * 0.7  # a gray coat
    shadow = np.zeros_like(person)
    shadow[180:195, 140:200] = True
    image[shadow] = empty[shadow] * 0.6
    (body,) = bodies(person | shadow, image, empty)
    assert body.box.tolist() == [100, 30, 140, 190]
    assert body.mask.all()
    dusk = (empty * 0.6).astype(np.uint8)  # somebody who looks like a shadow all over
    (body,) = bodies(person, dusk, empty)
    assert body.mask.all()


def at(x: int, y: int = 20, size: tuple[int, int] = (20, 60)) -> Body:
    box = np.array([x, y, x + size[0], y + size[1]])
    return Body(box, np.ones((size[1], size[0]), bool))


def test_two_people_are_followed_across_gaps():
    tracker = Tracker(25, (240, 320))
    for frame in range(40):
        here = [] if 10 <= frame < 15 else [at(2 * frame)]
        tracker.add([*here, at(250 - frame, 100)] if frame >= 5 else here)
    first, second = tracker.finish()
    assert (first.first, len(first.bodies)) == (0, 40)
    assert [body is None for body in first.bodies] == [10 <= f < 15 for f in range(40)]
    np.testing.assert_allclose(first.boxes()[:, 0], 2 * np.arange(40))
    assert (second.first, len(second.bodies)) == (5, 35)
    np.testing.assert_array_equal(second.boxes()[:, 0], 250 - np.arange(5, 40))


def test_who_is_lost_for_long_is_somebody_else():
    tracker = Tracker(10, (240, 320))
    for frame in range(30):
        tracker.add([] if 8 <= frame < 20 else [at(100)])
    assert [(t.first, len(t.bodies)) for t in tracker.finish()] == [(0, 8), (20, 10)]


def test_two_new_bodies_in_one_frame_and_fragments():
    tracker = Tracker(25, (240, 320))
    tracker.add([at(50), at(55, 82, (8, 5)), at(200)])  # the small one begins nothing
    assert [len(track.bodies) for track in tracker.active] == [1, 1]
    tracker.add([at(50, 20, (20, 30)), at(52, 55, (16, 25)), at(200)])  # cut in two by a table
    first, _ = tracker.finish()
    assert first.bodies[1].box.tolist() == [50, 20, 70, 80]
    assert first.bodies[1].mask.sum() == 20 * 30 + 16 * 25


def test_a_walker_is_found_in_every_frame():
    frames = walk()
    samples, _ = sampled(iter(frames))
    empty = background(samples)
    assert np.abs(empty.astype(int) - room()).mean() < 0.5
    tracker = Tracker(25, empty.shape)
    for image in frames:
        mask = foreground(image, empty, threshold(samples, empty))
        tracker.add(bodies(mask, image, empty))
    (track,) = tracker.finish()
    whole = [f for f in range(len(frames)) if place(f)[0] >= 0 and place(f)[2] <= WIDTH]
    boxes = track.boxes()[np.array(whole) - track.first]
    np.testing.assert_allclose(boxes, [place(f) for f in whole], atol=2)
