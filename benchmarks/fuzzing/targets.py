"""What is fuzzed: readers, and small valid files, many of them those of the readers' own tests."""

import argparse
import contextlib
import gzip
import io
import json
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import Mock

import numpy as np
import onnx
import torch
from PIL import Image

from gaitbench import checkpoints, cli, exported, gallery, kinect, readers, store
from gaitbench.backbones.gait_encoder import AgeClassifier
from gaitbench.casia_b import COLUMNS
from gaitbench.errors import InputError
from gaitbench.methods import GaitFormer, GaitGraph, GaitGraph2
from gaitbench.protocols.open_set import Threshold
from gaitbench.published import recognise, sgela
from gaitbench.skeleton import COCO17, KINECT20
from gaitbench.tools import import_checkpoint
from gaitbench.video.decode import Video
from tests import test_gallery, test_store, tf_writer
from tests.published import test_sgela as sgela_networks
from tests.readers import test_gaitcopy_samples as gaitcopy_samples
from tests.readers import test_keypoint_files as keypoint_files
from tests.readers import test_kinect as kinect_files
from tests.readers import test_skeletons as skeleton_files
from tests.video import films

CONFIG = Path(__file__).parents[2] / "configs" / "gaitgraph2" / "casia_b.yaml"

Files = dict[str, bytes]


class Target(NamedTuple):
    """A reader and what it is fed.

    Args:
        seeds: makes valid inputs, each a table of file names and contents.
        read: reads what lies in a folder.
    """

    seeds: Callable[[], list[Files]]
    read: Callable[[Path], Any]


def written(write: Callable[[Path], Any]) -> Files:
    """All files that a function leaves below a folder, but hidden ones."""
    with tempfile.TemporaryDirectory() as name:
        write(folder := Path(name))
        files = (path for path in sorted(folder.rglob("[!.]*")) if path.is_file())
        return {path.name: path.read_bytes() for path in files}


def content(save: Callable[..., Any], *values: Any, **named: Any) -> bytes:
    """What a function writes to a file."""
    save(out := io.BytesIO(), *values, **named)
    return out.getvalue()


def array(*shape: int, dtype: Any = np.float32) -> bytes:
    """An .npy file."""
    return content(np.save, np.ones(shape, dtype))


def torch_file(saved: Any, zipped: bool = True) -> bytes:
    """A torch file: a zip file, or of the older form."""
    return content(lambda out: torch.save(saved, out, _use_new_zipfile_serialization=zipped))


def only(folder: Path) -> Path:
    """The one file in a folder."""
    return next(folder.iterdir())


# ------------------------------------------------------------------------------------------- poses


def _table(head: list[str], rows: list[list[Any]]) -> bytes:
    return "\n".join(",".join(map(str, row)) for row in [head, *rows]).encode()


def _casia_b() -> bytes:
    names = (f"./00{i % 2}-nm-01-090/{i:06d}.jpg" for i in range(8))
    return _table(COLUMNS, [[name, *[0.5] * 51] for name in names])


def _keypoint_table() -> bytes:
    rows = [[f"00{i % 2}-nm-01-090", i, i % 2, *[0.5] * 51] for i in range(6)]
    return _table(["sequence", "frame", "track", *keypoint_files.columns(COCO17.joints)], rows)


def _openpose(joints: int) -> bytes:
    person = {"person_id": [-1], "pose_keypoints_2d": [0.5] * 3 * joints}
    return json.dumps({"version": 1.3, "people": [person] * 2}).encode()


def _keypoint_files(numpy: bool) -> list[Files]:
    flat = [keypoint_files.flat(pose) for pose in keypoint_files.draw(2, 17)]
    tracked = {
        "images": [{"id": i, "file_name": "a.jpg", "video_id": 1, "frame_id": i} for i in (0, 1)],
        "annotations": [{"image_id": i, "keypoints": flat[i], "track_id": 1} for i in (0, 1)],
        "videos": [{"id": 1, "name": "walk"}],
    }
    seeds = [{"tracked.json": json.dumps(tracked).encode()}, {"0_keypoints.json": _openpose(25)}]
    for write, joints in keypoint_files.WRITERS:
        poses = keypoint_files.draw(6, joints)
        seeds.append(written(lambda folder, write=write, poses=poses: write(folder, poses)))
    return [seed for seed in seeds if next(iter(seed)).endswith(".json") != numpy]


def _read_keypoints(folder: Path) -> None:
    path, module = only(folder), readers.keypoints
    skeleton = module.keypoint_layout(path).name
    source = module._Source(folder, True, "smoothest", skeleton, None, "")
    module._read_part(source, module._videos(path)[1])


def _read_annotated(folder: Path) -> None:
    kinds: dict[str, Any] = {"track_id": "subject", "kind": "text", "run": "integer"}
    file, roots, module = folder / "annotations.csv", (str(folder),), readers.annotated
    data = module.Annotated(file, (folder,), kinds | {"p": "probability"}, True)
    module.annotated_fingerprint(data)
    rows = module.read_annotations(data)
    for _, block in module._parts(rows["file_name"], {"line": rows["line"]}, roots, "raise", ""):
        module._read_block("annotations.csv", roots, (), "raise", block)


def _skeleton_arrays() -> list[Files]:
    pose = skeleton_files.walk(7)
    told: dict[str, Any] = {"sequence": ["one", "two"], "view": [0, 90], "fps": 30}
    told |= {"joint_names": KINECT20.joints}
    return [
        {"joined.npz": content(np.savez, **skeleton_files.arrays(**told))},
        {"several.npz": content(np.savez, one=pose, two=pose[:3])},
        {"single.npy": content(np.save, pose)},
    ]


def _skeleton_table(folder: Path) -> None:
    told = [{"sequence": i // 4, "frame": i, "subject": f"00{i // 4}", "view": 9} for i in range(7)]
    rows = [(labels, skeleton_files.walk(1)[0]) for labels in told]
    skeleton_files.write_table(folder / "s.csv", rows)


def _read_skeletons(folder: Path) -> None:
    path, module = only(folder), readers.skeletons
    skeleton = module.skeleton_layout(path).name
    options = module.Options("millimetres", "-z", "cut")
    source = module._Source(folder, True, options, skeleton, None, "")
    module._read_part(source, module._files(path)[1])


def _recording(path: Path) -> tuple[int, readers.kinect.Recording]:
    return 0, readers.kinect.Recording(str(path), "001", "train", 1, (0, 0))


def _read_takes(folder: Path) -> None:
    for recording in readers.kinect._takes(folder, (0, 0), 90):
        readers.kinect._read_take(readers.kinect.Options(), (0, recording))


def _read_windows(folder: Path) -> None:
    files = readers.sgela.WindowFiles(str(folder), "train", "", "BIWI", 6)
    readers.sgela._read(kinect.KGBD_ORDER, files)


# --------------------------------------------------------------------------------- images, samples

# ending, what the file is, and its pixels: some are not what their names say
IMAGES = ("png PNG L", "jpg JPEG L", "bmp BMP 1", "png PNG P", "png TIFF RGB", "png EPS L")
IMAGES += ("bmp GIF P", "png WEBP RGB")


def _image(told: str) -> Files:
    ending, kind, mode = told.split()
    return {f"001.{ending}": content(Image.new(mode, (30, 40), 1).save, kind)}


def _silhouettes() -> list[Files]:
    told: dict[str, Any] = {"start": [0, 2], "length": [2, 4], "condition": ["nm", "bg"]}
    told |= {"subject": [1, 2], "view": [0, 90], "number": [1, 2]}
    return [{"s.npz": content(np.savez, frames=np.ones((6, 8, 9), np.uint8), **told)}]


def _sample(kind: str) -> Files:
    files = written(lambda folder: gaitcopy_samples.write(folder / "a", "a", kind))
    return {f"{kind}.h5": files["a.h5"]}


def _read_sample(folder: Path) -> None:
    path = only(folder)
    with contextlib.suppress(readers.gaitcopy_samples._Fault):  # a sentence, one level further up
        readers.gaitcopy_samples._read_file(path, path.stem)


def _film(folder: Path) -> None:
    frames = [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(8)]
    films.write(folder / "film.mp4", frames, "mpeg4")


# ---------------------------------------------------------------------------------------- networks


def _tensorflow() -> list[Files]:
    weights = AgeClassifier(12, 3, 4).state_dict()
    turned = {name: weight.mT if weight.ndim > 1 else weight for name, weight in weights.items()}
    classifier = {there: turned[name].numpy() for name, there in sgela.PROJECTION.items()}
    return [
        written(lambda folder, known=known: tf_writer.write_checkpoint(folder / "m", known))
        for known in (sgela_networks.variables(joints=20), classifier)
    ]


def _read_tensorflow(folder: Path) -> None:
    if "W1" in readers.tf_checkpoint.read_tf_checkpoint(folder):
        _import(sgela.published_classifier(folder), ("sgela-recognition",), folder)
    else:
        _import(sgela.published_encoder([folder] * 3), ("sgela",), folder)


def _published() -> list[Files]:
    """Networks as their authors' programs write them, in both of torch's forms."""
    two = GaitGraph2(backbone="resgcn-n21-r8", skeleton="coco17").backbone.state_dict()
    trained = {f"backbone.{name}": weight for name, weight in two.items()}
    one = GaitGraph(skeleton="coco17").backbone.state_dict()
    small: dict[str, Any] = {"width": 16, "depth": 1, "heads": 2, "projection_dim": 8}
    former = GaitFormer(**small, skeleton="openpose18").backbone.state_dict()
    parts = {"input_branches": "ResGCN.head", "main_stream": "ResGCN.backbone", "fcn": "ResGCN.fcn"}
    split = {name: name.partition(".") for name in two}
    opengait = {f"{parts.get(a, a)}{dot}{b}": two[name] for name, (a, dot, b) in split.items()}
    options = argparse.Namespace(learning_rate=0.1, temp=0.07)
    return [
        {"a.ckpt": torch_file({"state_dict": trained, "hyper_parameters": {"learning_rate": 0.1}})},
        {"b.pth": torch_file({"model": one, "opt": options}, zipped=False)},
        {"c.pt": torch_file({"model": opengait})},
        {"d.pt": torch_file(former)},
    ]


def _read_published(folder: Path) -> None:
    path = only(folder)
    names = ("gaitgraph2", "gaitgraph", "opengait-gaitgraph2", "gaitformer")
    _import(recognise(checkpoints.read_published(path), path), names, path)


def _import(published: Any, names: tuple[str, ...], path: Path) -> None:
    """A method of what a file holds, as the first of these that it may be."""
    for name in names:
        kind, programs = import_checkpoint.IMPORTS[name]
        if published.origin in programs:
            if not set(published.untold) - set(published.settings):
                import_checkpoint._method_of(published, name, path / kind)
            return


FACTS = exported.ExportInfo(
    *("GaitSet", "1.0", "0" * 64, "coco17", "pose", "none", "pixels", 4, False, "tiled", (3, 2)),
    *(("embedding", "attributes"), 8, ("female", "glasses"), False),
)


def _onnx() -> list[Files]:
    """A network of a matrix product, and what is told of it."""
    product = onnx.helper.make_node("Gemm", ["flat", "weight"], ["embedding"])
    nodes = [onnx.helper.make_node("Flatten", ["frames"], ["flat"]), product]
    nodes.append(onnx.helper.make_node("Sigmoid", ["embedding"], ["attributes"]))
    kind, sizes = onnx.TensorProto.FLOAT, {"embedding": 8, "attributes": 8}
    given = onnx.helper.make_tensor_value_info("frames", kind, ["batch", 4, 3, 2])
    told = [onnx.helper.make_tensor_value_info(n, kind, ["batch", d]) for n, d in sizes.items()]
    weight = onnx.numpy_helper.from_array(np.ones((24, 8), np.float32), "weight")
    graph = onnx.helper.make_graph(nodes, "network", [given], told, [weight])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    return [{"graph.onnx": model.SerializeToString(), "facts.json": FACTS.to_json().encode()}]


def _read_onnx(folder: Path) -> None:
    """Facts are put to the graph's file; what is read is used."""
    facts = (folder / "facts.json").read_bytes().decode("utf-8", "replace")
    entry = onnx.StringStringEntryProto(key=exported.METADATA, value=facts)
    told = onnx.ModelProto(metadata_props=[entry]).SerializeToString()
    with (folder / "graph.onnx").open("ab") as file:
        file.write(told)
    network = exported.OnnxNetwork(folder / "graph.onnx", threads=1)
    network(np.ones((2, network.info.frames, *network.info.frame_shape), np.float32))


def _checkpoint() -> list[Files]:
    saved = {
        "state_dict": {"a": torch.ones(3, 4), "b": torch.zeros(2, dtype=torch.int64)},
        "pytorch-lightning_version": "2.5",
        "hyper_parameters": {"width": 3, "_class_path": "gaitbench.methods.GaitFormer"},
        "gaitbench": {"skeleton": "coco17"},
    }
    return [{"last.ckpt": torch_file(saved)}]


# ---------------------------------------------------------------------------- what gaitbench writes


def _read_encodings(folder: Path) -> None:
    values, _ = readers.encodings.read_encodings([folder])
    readers.encodings.refuse_not_finite(values[0], folder)


def _gallery(folder: Path) -> None:
    known = replace(test_gallery.crowd(2, 2), threshold=Threshold(0.5, 0.01, 1, 100, ("x",)))
    gallery.write_gallery(known, folder / "known.npz")


def _read_gallery(folder: Path) -> None:
    """Also that what is read can be used."""
    found = gallery.read_gallery(only(folder))
    found.search(np.ones((1, found.embeddings.shape[1]), np.float32), 2)
    told: list[Any] = [found.people]
    if found.threshold is not None:
        told += [found.threshold.value > 1.0, f"{found.threshold.fpir:g}", *found.threshold.people]


def _store(folder: Path) -> None:
    store.store_at(folder / "store", test_store.PRINT, test_store.build, test_store.INFO)


def _read_store(folder: Path) -> None:
    opened = store.SequenceStore.open(folder)
    rows = np.flatnonzero(opened.sequences["length"].to_numpy() > 0)[:4]
    opened.gather(rows, np.zeros((len(rows), 1), np.int64))
    opened.verify()


def _read_config(folder: Path) -> None:
    """Up to where a run's data would be looked for."""
    out = folder / "out"
    words = [f"--config={folder / 'run.yaml'}", "--data.path=/nowhere", f"--data.cache={out}"]
    words += [f"--trainer.default_root_dir={out}", "--trainer.accelerator=cpu"]
    try:
        cli.main(args=["fit", *words])
    except SystemExit as error:
        if error.code != 2:
            raise
    except InputError as error:
        if "/nowhere" not in str(error):
            raise


# ------------------------------------------------------------------------------------- all of them

PERSONS = content(np.save, np.array({1: [0], 2: [1]}, dtype=object))
BIWI, KS20 = kinect_files.body(0.5).encode(), b"1,0.1,0.2,3,2\n" * 25
ANNOTATED = {
    "annotations.csv": b"file_name,track_id,kind,run,p\na.npy,1,x,2,0.5\nb.npy,2,y,3,1\n",
    **dict.fromkeys(("a.npy", "b.npy"), array(5, 18, 3)),
}
ENCODINGS = {
    "embeddings.npy": array(2, 36),
    "sequences.csv": b"subject,condition,number,view,frames\na,nm,1,0,6\nb,nm,2,90,6\n",
}
WINDOWS = {f"source_{axis}_BIWI_6.npy": array(12, 20, dtype=np.float64) for axis in "xyz"}
TARGETS = {
    "casia_b": Target(
        lambda: [{"p.csv": _casia_b()}], lambda f: readers.casia_b.read_casia_b(only(f), Mock())
    ),
    "casia_b gzip": Target(
        lambda: [{"p.csv.gz": gzip.compress(_casia_b())}],
        lambda f: readers.casia_b.read_casia_b(only(f), Mock()),
    ),
    "oumvlp": Target(
        lambda: [{f"00001/000_00/{i:04d}_keypoints.json": _openpose(18) for i in range(2)}],
        lambda f: readers.oumvlp._read_part("smoothest", [str(f / "00001")]),
    ),
    "oumvlp id list": Target(
        lambda: [{"list.csv": b"Training,Testing\n1,2\n3,4\n5.0,\n"}],
        lambda f: readers.oumvlp.read_id_list(only(f)),
    ),
    "keypoints JSON": Target(lambda: _keypoint_files(numpy=False), _read_keypoints),
    "keypoints CSV": Target(lambda: [{"k.csv": _keypoint_table()}], _read_keypoints),
    "keypoints numpy": Target(lambda: _keypoint_files(numpy=True), _read_keypoints),
    "labels of sequences": Target(
        lambda: [{"labels.csv": b"sequence,subject,view\none,a,90\ntwo,b,0\n"}],
        lambda f: readers.keypoints.read_sequence_labels(only(f)),
    ),
    "labels of subjects": Target(
        lambda: [{"labels.csv": b"track_id,gender,glasses\n1,0,0.5\n002,1,1\n"}],
        lambda f: readers.labels.read_labels(only(f)),
    ),
    "biwi, ias_lab": Target(
        lambda: [{"001_0001_skel.txt": BIWI, "001_0002_skel.txt": BIWI * 2}],
        lambda f: readers.kinect._read_frames(
            readers.kinect.Options("tracked", "cut"), _recording(f)
        ),
    ),
    "kgbd": Target(
        lambda: [{"1.txt": kinect_files.walk(3).encode()}],
        lambda f: readers.kinect._read_walk(readers.kinect.Options(), _recording(only(f))),
    ),
    "ks20": Target(lambda: [{f"gc1_body7_{i}_s.txt": KS20 for i in range(2)}], _read_takes),
    "sgela windows": Target(lambda: [{**WINDOWS, "ids_BIWI_6.npy": PERSONS}], _read_windows),
    "sgela ids": Target(lambda: [{"ids.npy": PERSONS}], lambda f: readers.sgela.read_ids(only(f))),
    "skeletons numpy": Target(_skeleton_arrays, _read_skeletons),
    "skeletons CSV": Target(lambda: [written(_skeleton_table)], _read_skeletons),
    "annotated": Target(lambda: [ANNOTATED], _read_annotated),
    "encodings": Target(lambda: [ENCODINGS], _read_encodings),
    "silhouette images": Target(
        lambda: [_image(told) for told in IMAGES], readers.silhouettes._read_walk
    ),
    "silhouettes npz": Target(_silhouettes, lambda f: readers.silhouettes._read_arrays(only(f))),
    "pickles": Target(
        lambda: [{"a.pkl": pickle.dumps(np.ones((3, 4, 5), np.uint8), p)} for p in range(6)],
        lambda f: readers.pickles.read_byte_array(only(f)),
    ),
    "gaitcopy h5": Target(
        lambda: [_sample(kind) for kind in readers.gaitcopy_samples.KINDS], _read_sample
    ),
    "onnx": Target(_onnx, _read_onnx),
    "tf_checkpoint": Target(_tensorflow, _read_tensorflow),
    "published": Target(_published, _read_published),
    "checkpoint": Target(_checkpoint, lambda f: checkpoints.read_checkpoint(only(f))),
    "gallery": Target(lambda: [written(_gallery)], _read_gallery),
    "store": Target(lambda: [written(_store)], _read_store),
    "video": Target(lambda: [written(_film)], lambda f: [None for _ in Video(only(f)).frames()]),
    "config": Target(lambda: [{"run.yaml": CONFIG.read_bytes()}], _read_config),
}
