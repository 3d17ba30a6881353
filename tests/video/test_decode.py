import numpy as np
import pytest

from gaitbench.errors import InputError
from gaitbench.video.decode import Video, _upright
from tests.video.films import HEIGHT, WIDTH, walk, write


def test_frames_come_as_they_were_written_each_time(tmp_path):
    frames = walk(10)
    video = Video(write(tmp_path / "a.avi", frames, fps=20))
    for _ in range(2):
        np.testing.assert_array_equal(list(video.frames()), frames)
        assert video.fault == ""
    assert (video.width, video.height, video.fps) == (WIDTH, HEIGHT, 20)


class Held:
    """A frame of a phone that was held otherwise."""

    def __init__(self, rotation: float) -> None:
        self.rotation = rotation

    def to_ndarray(self, format: str) -> np.ndarray:
        return np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize("rotation", [0, 90, -90, 180])
def test_pictures_are_turned_as_the_file_says(rotation):
    picture = Held(0).to_ndarray("bgr24")
    turned = _upright(Held(rotation))
    np.testing.assert_array_equal(turned, np.rot90(picture, rotation // 90))


def test_a_cut_video_is_read_as_far_as_it_goes(tmp_path):
    path = write(tmp_path / "a.avi", walk(20))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    video = Video(path)
    found = len(list(video.frames()))
    assert 5 < found < 15
    assert video.fault == f"is cut: it holds {found} of the 20 frames it announces"


def test_damaged_packets_are_counted(tmp_path):
    path = write(tmp_path / "a.avi", walk(60), "mpeg4")
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 3, len(content) // 2, 40):
        content[place] ^= 255
    path.write_bytes(content)
    video = Video(path)
    assert len(list(video.frames())) > 40
    assert "is damaged: " in video.fault


def test_another_size_ends_the_video(tmp_path):
    small = write(tmp_path / "small.ts", walk(12), "mpeg2video")
    large = write(tmp_path / "large.ts", [np.kron(f, np.ones((2, 2, 1), "u1")) for f in walk(12)],
                  "mpeg2video")  # fmt: skip
    path = tmp_path / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    video = Video(path)
    found = list(video.frames())
    assert {image.shape for image in found} == {(HEIGHT, WIDTH, 3)}
    assert video.fault == (
        f"changes from 128x96 to 256x192 pixels at frame {len(found)}; what follows is left out"
    )


@pytest.mark.parametrize("content", [b"", b"hello", None])
def test_what_is_no_video_is_one_sentence(tmp_path, content):
    path = tmp_path / "a.avi"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.avi cannot be opened as a video \(.*\); copy it"):
        Video(path)
