"""YuNet's network by ONNX Runtime: OpenCV's rows, at any size, in batches, by many threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import skimage.data
from onnx import TensorProto, helper

from idfer.data.onnx_size import any_size
from idfer.data.yunet import YuNet
from idfer.data.yunet_net import Network
from idfer.errors import IdferError
from idfer.onnx_session import session_of

from conftest import YUNET, needs_yunet


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(YUNET)


# -- as OpenCV's --------------------------------------------------------------------------------------------


@needs_yunet
@pytest.mark.parametrize("threshold", [0.015, 0.3, 0.6])
@pytest.mark.parametrize("size", [(512, 512), (300, 411), (96, 96), (96, 192), (1000, 701), (65, 640)])
def test_rows_are_those_of_opencv(
    network: Network, astronaut: np.ndarray, size: tuple[int, int], threshold: float
) -> None:
    image = cv2.resize(astronaut, size[::-1], interpolation=cv2.INTER_AREA)
    net = cv2.FaceDetectorYN.create(str(YUNET), "", size[::-1], threshold, 0.3, 5000)
    _, theirs = net.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    rows, which = network(image[None], threshold)
    assert rows.dtype == np.float32
    assert (which == 0).all()
    theirs = np.empty((0, 15)) if theirs is None else theirs
    assert len(rows) == len(theirs)
    assert len(rows) or threshold > 0.1
    np.testing.assert_allclose(rows, theirs, rtol=1e-4, atol=2e-3)


@needs_yunet
def test_a_crowd_is_what_opencv_sees(network: Network, astronaut: np.ndarray) -> None:
    """Hundreds of rows, many of one score, whose order is chance."""
    image = np.tile(cv2.resize(astronaut, (160, 160), interpolation=cv2.INTER_AREA), (4, 5, 1))
    net = cv2.FaceDetectorYN.create(str(YUNET), "", (800, 640), 0.015, 0.3, 5000)
    _, theirs = net.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    rows, _ = network(image[None], 0.015)
    assert len(rows) == len(theirs) > 200
    assert (np.diff(rows[:, 14]) <= 0).all()
    apart = np.abs(rows[:, None] - theirs[None]).max(axis=2).min(axis=1)
    assert apart.max() < 2e-3


@needs_yunet
@pytest.mark.parametrize("side", [96, 70])
def test_images_of_a_batch_do_not_meet(network: Network, astronaut: np.ndarray, side: int) -> None:
    """The same face at the same place of each: none is dropped for another's sake."""
    face = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA)
    batch = np.stack([face, np.zeros_like(face), face, face[:, ::-1]])
    rows, which = network(batch, 0.3)
    assert sorted(which.tolist()) == [0, 2, 3]
    for number, image in enumerate(batch):
        alone, _ = network(image[None], 0.3)
        np.testing.assert_allclose(rows[which == number], alone, rtol=1e-5, atol=1e-4)


@needs_yunet
def test_many_threads_may_call_one(astronaut: np.ndarray) -> None:
    detector = YuNet(YUNET)
    images = [astronaut[: 300 + 7 * n, 100 : 420 + 5 * n] for n in range(12)]
    expected = [[face.box for face in detector(image)] for image in images]
    assert all(expected)
    with ThreadPoolExecutor(4) as pool:
        assert [[face.box for face in faces] for faces in pool.map(detector, images)] == expected


@needs_yunet
def test_opencv_s_limit_of_threads_holds_here_too(
    astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def noting(*args: object, threads: int, **named: object) -> object:
        asked.append(threads)
        return session_of(*args, threads=threads, **named)

    monkeypatch.setattr("idfer.data.yunet_net.session_of", noting)
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 1)
    network = Network(YUNET)
    alone, _ = network(astronaut[None], 0.6)
    assert asked == [1]
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 2)
    for _ in range(2):
        np.testing.assert_allclose(network(astronaut[None], 0.6)[0], alone, rtol=1e-5, atol=1e-4)
    assert asked == [1, 2], "a session is opened when it is first needed, and kept"


@needs_yunet
def test_nothing_is_said_on_stderr() -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path; from idfer.data.yunet_net import Network\n"
        "network = Network(Path(sys.argv[1]))\n"
        "for shape in [(1, 64, 96, 3), (3, 50, 70, 3)]: network(np.zeros(shape, np.uint8), 0.6)"
    )
    done = subprocess.run([sys.executable, "-c", code, YUNET], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


# -- any size -----------------------------------------------------------------------------------------------


def fixed(width: int = 8) -> bytes:
    """A small network of one size: the mean of channels, and twice that, which it also gives inside."""
    of = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 4, width))]
    to = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, 4, width))]
    inner = [helper.make_tensor_value_info("m", TensorProto.FLOAT, (1, 1, 4, width))]
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
        helper.make_node("Add", ["m", "m"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "twice", of, to, value_info=inner, doc_string="d" * 300)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def test_a_network_of_one_size_takes_any() -> None:
    name, image = Path("twice.onnx"), np.random.default_rng(0).random((2, 3, 5, 7), np.float32)
    with pytest.raises(Exception, match="invalid dimensions"):
        session_of(name, content=fixed()).run(None, {"x": image})
    (found,) = session_of(name, content=any_size(fixed())).run(None, {"x": image})
    np.testing.assert_allclose(found, 2 * image.mean(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("width", [8, 300])
def test_all_but_sizes_is_kept(width: int) -> None:
    before, after = (onnx.ModelProto.FromString(of(fixed(width))) for of in (bytes, any_size))
    assert not after.graph.value_info
    assert not after.graph.output[0].type.tensor_type.HasField("shape")
    dims = after.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [0, 3, 0, 0]
    assert len({d.dim_param for d in dims}) == 4
    for model in (before, after):
        del model.graph.value_info[:]
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.ClearField("shape")
    assert before == after


@needs_yunet
def test_sizes_do_not_move_a_number(network: Network) -> None:
    given = np.random.default_rng(0).uniform(0, 255, (1, 3, 640, 640)).astype(np.float32)
    stated = session_of(YUNET, threads=1).run(None, {"input": given})
    free = session_of(YUNET, content=any_size(YUNET.read_bytes()), threads=1).run(None, {"input": given})
    assert all(np.array_equal(a, b) for a, b in zip(stated, free, strict=True))


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"<html>", fixed()[:-5], b"\xff" * 99]
)
def test_what_is_no_onnx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        any_size(content)
    (tmp_path / "broken.onnx").write_bytes(content)
    with pytest.raises(IdferError, match=r"broken\.onnx: is not a YuNet ONNX file; download .* again"):
        YuNet(tmp_path / "broken.onnx")


def test_another_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.onnx").write_bytes(fixed())
    with pytest.raises(IdferError, match=r"twice\.onnx: is not a YuNet ONNX file") as said:
        YuNet(tmp_path / "twice.onnx")
    assert "has no output 'bbox_16'" in str(said.value.__cause__)


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked.onnx").write_bytes(fixed())

    def refused(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(IdferError, match=r"locked\.onnx: cannot be read \(Permission denied\)"):
        Network(tmp_path / "locked.onnx")


@needs_yunet
def test_damaged_weights_are_told(tmp_path: Path) -> None:
    """They may give a box without end."""
    model = onnx.load(YUNET)
    node = next(node for node in model.graph.node if "bbox_8" in node.output)
    node.output[0] = "bbox_8_before"
    model.graph.initializer.append(helper.make_tensor("huge", TensorProto.FLOAT, [], [1e6]))
    model.graph.node.append(helper.make_node("Add", ["bbox_8_before", "huge"], ["bbox_8"]))
    onnx.save(model, tmp_path / "damaged.onnx")
    with pytest.raises(IdferError, match=r"damaged\.onnx: gives boxes without end"):
        Network(tmp_path / "damaged.onnx")(np.zeros((1, 64, 64, 3), np.uint8), 0.0)
