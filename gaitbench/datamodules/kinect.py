"""What the datasets that Kinect recorded share: their files, and people who are known."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from gaitbench.datamodules.spatial import SpatialDataModule
from gaitbench.errors import InputError
from gaitbench.kinect import KinectSet
from gaitbench.readers import sgela
from gaitbench.readers.kinect import READER_VERSION, Options, kinect_fingerprint, read_kinect
from gaitbench.readers.sgela import WindowFiles, find_windows, read_windows, windows_fingerprint
from gaitbench.skeleton import KINECT20
from gaitbench.store import StoreWriter


class KinectDataModule(SpatialDataModule):
    """Base of closed-set datasets of Kinect's skeletons: those who are tested have trained, too.

    The path may be the tree that the owner published, or what the authors of SGE-LA and its
    successors made of it, windows of ``frames`` frames as numpy files (see
    :mod:`gaitbench.readers.sgela`), which are taken where both are there.

    Args:
        path: the dataset's folder.
        split: name of the division.
        frames: frames of a window.
        options: how recordings are read.
        settings: see :class:`SpatialDataModule`.
    """

    native_skeleton = KINECT20.name
    reader_version = READER_VERSION
    kinect: KinectSet
    view: int | None = None  # the one that is read, of a set that has several
    divisions: ClassVar[tuple[str, ...]] = ("published", "all")
    ways: ClassVar[tuple[str, ...]] = ("body", "gaps", "clip")  # options that there are

    def __init__(
        self, path: str, split: str, frames: int, options: Options, **settings: Any
    ) -> None:
        super().__init__(path, split, frames, **settings)
        if split not in self.divisions:
            known = ", ".join(self.divisions)
            raise InputError(f"data.split {split!r} is unknown; choose one of {known}")
        self.options = options

    @cached_property
    def cut(self) -> list[WindowFiles]:
        """The files of windows that were cut beforehand; none where recordings are read.

        Raises:
            InputError: if some are missing, or settings are given that they do not follow.
        """
        found = find_windows(self.path, self.kinect, self.frames, self.view)
        plain = Options(joint_order=self.options.joint_order)
        for name, given, default in zip(Options._fields, self.options, plain, strict=True):
            if found and given != default:
                raise InputError(
                    f"data.{name} {given} is a way to read recordings, {self.path} holds windows "
                    "that were cut beforehand; leave it out, or name the recordings' folder"
                )
        return found

    @property
    def store_name(self) -> str:
        """A store for each way to read."""
        return "-".join([self.dataset, *map(str, self.store_settings.values())])

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """How the recordings were read, or how long the windows are that were cut beforehand."""
        ways = {name: getattr(self.options, name) for name in self.ways}
        if not self.cut:
            return ways
        return {"windows": self.frames} | {k: v for k, v in ways.items() if k == "joint_order"}

    def store_key(self) -> str:
        """Fingerprint of the recordings or of the files of windows."""
        if self.cut:
            version = {"reader": sgela.READER_VERSION, "skeleton": self.native_skeleton}
            return windows_fingerprint(self.cut, **version, **self.store_settings)
        version = {"reader": self.reader_version, "skeleton": self.native_skeleton}
        return kinect_fingerprint(self.path, self.kinect, **version, **self.store_settings)

    def read(self, writer: StoreWriter) -> None:
        """Read the files; what was read of them is kept until the store is finished."""
        keep = self.cache / f".{self.store_name}.parts"
        if self.cut:
            read_windows(self.cut, self.kinect, self.options.joint_order, writer, keep)
        else:
            read_kinect(self.path, self.kinect, self.options, writer, keep)

    @property
    def only_tested(self) -> bool:
        """Whether people train only if they are tested, too."""
        return self.split_name == "published" and not self.cut
