"""Models that know nothing of idfer: functions of crops and ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, UsageError
from idfer.evaluation.foreign import callable_model, outputs_of
from idfer.evaluation.models import open_model
from idfer.evaluation.onnx_model import OnnxModel, open_onnx

CROPS = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)


def write(
    folder: Path, described: str = "size: 8", *, shape: Any = ("B", 3, 8, 8), outputs: int = 2, kind: int = 1
) -> Path:
    """An ONNX file that averages over space: (B, 3) of channels as feature, the first two as answers."""
    axes = [2, 3] if shape[1] == 3 else [1, 2]
    nodes = [helper.make_node("Identity", ["x"], ["x32"])]
    if kind != TensorProto.FLOAT:
        nodes = [helper.make_node("Cast", ["x"], ["x32"], to=TensorProto.FLOAT)]
    nodes += [
        helper.make_node("ReduceMean", ["x32", "axes"], ["embedding"], keepdims=0),
        helper.make_node("Slice", ["embedding", "zero", "width", "one"], ["va"]),
    ]
    numbers = {"axes": axes, "zero": [0], "width": [outputs], "one": [1]}
    constants = [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in numbers.items()]
    widths = {"va": outputs, "embedding": 3}
    graph = helper.make_graph(
        nodes, "means", [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [shape[0], w]) for n, w in widths.items()],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path = folder / "theirs.onnx"
    onnx.save(model, path)
    if described:
        path.with_suffix(".yaml").write_text(described)
    return path


def refused(path: Path) -> str:
    with pytest.raises(IdferError) as error:
        open_onnx(path)
    return str(error.value)


def test_onnx_gives_what_its_preprocessing_says(tmp_path: Path) -> None:
    means = CROPS.reshape(5, 64, 3).mean(axis=1)
    plain = open_model(write(tmp_path))
    assert isinstance(plain, OnnxModel)
    assert plain.name == "theirs"
    np.testing.assert_allclose(plain.predict(CROPS).valence_arousal, means[:, :2] / 255, atol=1e-6)
    described = (
        "size: 8\ncolour_order: BGR\npixels: [-1, 1]\nmean: [0.1, 0.2, 0.3]\nstd: [2, 4, 5]\n"
        "range: [0, 10]\nvalence_arousal: va\nfeatures: [embedding]\ndetector: none\nmargin: 0.2\n"
    )
    told = open_model(write(tmp_path, described))
    inputs = (means[:, ::-1] / 127.5 - 1 - [0.1, 0.2, 0.3]) / [2, 4, 5]
    found = told.predict(CROPS)
    np.testing.assert_allclose(found.valence_arousal, inputs[:, :2] / 5 - 1, atol=1e-5)
    np.testing.assert_allclose(found.features["embedding"], inputs, atol=1e-5)
    assert (told.preprocess.margin, told.preprocess.detector) == (0.2, "none")


def test_onnx_of_other_layouts_types_and_fixed_batches(tmp_path: Path) -> None:
    means = CROPS.reshape(5, 64, 3).mean(axis=1)
    path = write(tmp_path, "size: 8\nlayout: NHWC", shape=(2, 8, 8, 3), kind=TensorProto.UINT8)
    np.testing.assert_allclose(open_onnx(path).predict(CROPS).valence_arousal, means[:, :2], atol=1e-4)


@pytest.mark.parametrize(
    ("described", "written", "message"),
    [
        ("", {}, "described by a YAML file beside it"),
        ("layout: NCHW", {}, "`size` is missing"),
        ("size: 8\nmeen: [0, 0, 0]", {}, "Did you mean 'mean'?"),
        ("size: 9", {}, "mend one"),
        ("size: 8\nlayout: NHWC", {}, "mend one"),
        ("size: 8\nlayout: HWC", {}, "NCHW or NHWC"),
        ("size: 8\nstd: [1, 1, 0]", {}, "must be above 0"),
        ("size: 8\nrange: [1, -1]", {}, "lowest and the highest"),
        ("size: 8\nvalence_arousal: vaa", {}, "Did you mean 'va'?"),
        ("size: 8\nvalence: va", {}, "both valence and arousal"),
        ("size: 8", {"outputs": 1}, "which output is valence and arousal? It has va ['B', 1]"),
        ("size: 8\nvalence_arousal: embedding", {}, "wanted (B, 2)"),
    ],
)  # fmt: skip
def test_onnx_that_contradicts_its_description(
    tmp_path: Path, described: str, written: dict[str, int], message: str
) -> None:
    assert message in refused(write(tmp_path, described, **written))


def test_onnx_that_is_none(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(b"not a model")
    assert "cannot be opened" in refused(path)
    assert "no such ONNX file" in refused(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda1"])
def test_an_unknown_device_is_refused_for_an_onnx_file_too(tmp_path: Path, device: str) -> None:
    with pytest.raises(UsageError, match=f"unknown device '{device}'; use auto, cpu, cuda, cuda:N or mps"):
        open_onnx(write(tmp_path), device)


def test_a_gpu_asked_for_is_used_or_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(UsageError, match=r"--device cuda:1: this ONNX Runtime has no CUDA"):
        open_onnx(path, "cuda:1")
    opened, asked = onnxruntime.InferenceSession, []

    def noted(*given: Any, providers: list[Any]) -> Any:
        asked.append(providers)
        return opened(*given, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    message = r"theirs\.onnx: ONNX Runtime cannot start CUDA on --device cuda:1"
    with pytest.warns(UserWarning), pytest.raises(IdferError, match=message):  # it warns and takes the CPU
        open_onnx(path, "cuda:1")
    assert asked == [[("CUDAExecutionProvider", {"device_id": 1}), "CPUExecutionProvider"]]
    assert open_onnx(path, "auto").predict(CROPS).valence_arousal.shape == (5, 2)


def test_a_function_of_crops_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs_module.py").write_text(
        "import numpy as np\n"
        "def score(crops):\n    return crops.reshape(len(crops), -1)[:, :2] / 255.0\n"
        "score.size = 8\n"
        "def make():\n    return score\n"
        "def sizeless(crops):\n    return None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("score", "make"):
        model = open_model(f"theirs_module:{name}")
        assert model.preprocess.size == 8
        np.testing.assert_allclose(model.predict(CROPS).valence_arousal, CROPS.reshape(5, -1)[:, :2] / 255)
    with pytest.raises(IdferError, match="give --size 224"):
        open_model("theirs_module:sizeless")
    assert open_model("theirs_module:sizeless", size=16).preprocess.size == 16


def test_functions_give_arrays_tensors_and_features() -> None:
    va, z = np.zeros((5, 2)), np.ones((5, 4, 2, 2))
    assert outputs_of((z, va), "m", 5).features["expression"].shape == (5, 16)
    assert outputs_of(({"a": z[:, :, 0, 0]}, va), "m", 5).features["a"].shape == (5, 4)
    assert outputs_of(torch.zeros(5, 2, requires_grad=True), "m", 5).valence_arousal.shape == (5, 2)
    assert outputs_of([[0.1, 0.2], [0.3, 0.4]], "m", 2).features == {}
    with pytest.raises(IdferError, match=r"gave shape \(5, 3\) for 5 faces"):
        outputs_of(np.zeros((5, 3)), "m", 5)

    def broken(crops: np.ndarray) -> None:
        raise RuntimeError("no weights")

    with pytest.raises(IdferError, match=r"m: failed on .*RuntimeError: no weights"):
        callable_model(broken, "m", 8).predict(CROPS)


def test_a_function_says_its_own_contract() -> None:
    def score(crops: np.ndarray) -> np.ndarray:
        return np.zeros((len(crops), 2))

    score.preprocess = Preprocess(8, detector="none")  # type: ignore[attr-defined]
    assert callable_model(score, "m").preprocess.detector == "none"
    with pytest.raises(UsageError, match="is no FaceModel"):
        open_model(3)  # type: ignore[arg-type]
