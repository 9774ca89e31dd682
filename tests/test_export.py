"""`idfer export`: the file says what the network says, in any runtime."""

from __future__ import annotations

import importlib.util
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from skimage import data, io

import idfer
from idfer import cli, exporting
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, UsageError
from idfer.evaluation.models import open_model
from idfer.evaluation.onnx_model import OnnxModel, open_onnx
from idfer.models.network import Network
from idfer.training.checkpoint import load_checkpoint

from runs import record_of, write_run

EXAMPLE = Path(__file__).parent.parent / "examples" / "serve_onnx.py"
CROPS = np.random.default_rng(1).integers(0, 256, (7, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return idfer.export(
        "synthetic-tiny", tmp_path_factory.mktemp("onnx") / "tiny.onnx", detach="age=0.5,skin"
    )


def test_the_file_says_what_the_network_says_at_any_strength(exported: Path) -> None:
    network, model = load_checkpoint("synthetic-tiny"), open_model(exported)
    assert isinstance(model, OnnxModel)
    assert model.attributes == network.attributes == ("gender", "age", "skin")
    assert model.preprocess == Preprocess(64, margin=network.preprocess.margin, detector="auto")
    default = {"age": 0.5, "skin": 1.0}
    for given, meant in ((None, default), ({}, {}), ({"gender": -1.0}, {"gender": -1.0})):
        said, wanted = model.predict(CROPS, given), network.predict(CROPS, meant)
        np.testing.assert_allclose(said.valence_arousal, wanted.valence_arousal, atol=1e-4)
        np.testing.assert_allclose(said.features["expression"], wanted.features["expression"], atol=1e-4)
    apart = network.predict(CROPS, default).valence_arousal - network.predict(CROPS, {}).valence_arousal
    assert np.abs(apart).max() > 1e-3  # so that strengths could not be ignored
    with pytest.raises(UsageError, match="unknown attribute 'agee'"):
        model.predict(CROPS, {"agee": 1.0})


def test_the_file_says_what_it_is_and_is_not(exported: Path) -> None:
    told = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    assert "not fit for real photographs" in told["idfer.intended_use"]
    assert told["idfer.version"] == idfer.__version__


@pytest.mark.slow
def test_a_run_without_attributes_and_a_transformer_are_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    place = Preprocess(32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), alignment="landmarks", detector="yunet")
    network = Network("test_vit", 32, (), 8)
    run = write_run(tmp_path / "run", network, record_of("test_vit", (), 8, place))
    assert cli.main(["export", str(run), "-o", str(tmp_path / "new" / "plain.onnx")]) == 0
    model = open_onnx(tmp_path / "new" / "plain.onnx")
    assert (model.attributes, model.preprocess.alignment, model.preprocess.detector) == (
        (),
        "landmarks",
        "yunet",
    )
    crops = CROPS[:, :32, :32]
    wanted = load_checkpoint(run).predict(crops).valence_arousal
    np.testing.assert_allclose(model.predict(crops).valence_arousal, wanted, atol=1e-4)


def test_what_cannot_be_exported_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        idfer.export("synthetic-tiny", tmp_path / "model.pt")
    with pytest.raises(UsageError, match="unknown attribute 'agee'"):
        idfer.export("synthetic-tiny", tmp_path / "model.onnx", detach="agee")
    place = Preprocess(32)
    network = Network("conv4", 32, ("age",), 8, form="simple", embedding=4)
    record = record_of("conv4", ("age",), 8, place, form="simple", embedding=4, retrieval="soft")
    run = write_run(tmp_path / "run", network, record, np.ones((2, 4), np.float32))
    with pytest.raises(IdferError, match="'simple' reads CLIP's vectors of every face"):
        idfer.export(run, tmp_path / "model.onnx")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name)
    )
    with pytest.raises(UsageError, match=re.escape("export needs onnxscript: pip install 'idfer[export]'")):
        idfer.export("synthetic-tiny", tmp_path / "model.onnx")
    assert not list(tmp_path.glob("model*"))


def test_what_is_missing_or_another_s_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "synthetic-tiny"]) == 2
    assert "give -o OUT: the .onnx file" in capsys.readouterr().err
    (tmp_path / "own.yaml").write_text("size: 64\n")
    with pytest.raises(UsageError, match=r"own\.yaml: was not written by `idfer export`"):
        idfer.export("synthetic-tiny", tmp_path / "own.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["own.yaml"]


def test_a_file_that_differs_from_the_network_is_not_kept(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = onnx.load(exported)
    weight = max(wrong.graph.initializer, key=lambda w: len(w.raw_data))
    weight.CopyFrom(onnx.numpy_helper.from_array(1.5 * onnx.numpy_helper.to_array(weight), weight.name))
    monkeypatch.setattr(exporting, "_traced", lambda checkpoint, strength: wrong)
    with pytest.raises(IdferError, match="differs from the network by"):
        idfer.export("synthetic-tiny", tmp_path / "model.onnx", detach="age=0.5,skin")
    assert not list(tmp_path.iterdir())


def test_a_description_whose_attributes_the_file_lacks_is_refused(exported: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiny.onnx"
    file.write_bytes(exported.read_bytes())
    text = exported.with_suffix(".yaml").read_text()
    file.with_suffix(".yaml").write_text(text.replace("[gender, age, skin]", "[gender, age]"))
    with pytest.raises(IdferError, match="no optional input 'strength' of 2 numbers"):
        open_onnx(file)


def test_the_example_needs_neither_idfer_nor_torch_and_agrees(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "astronaut.png"
    io.imsave(photo, data.astronaut(), check_contrast=False)
    box = (160, 60, 130, 150)
    for name in [n for n in sys.modules if n.split(".")[0] in ("idfer", "torch")]:
        monkeypatch.setitem(sys.modules, name, None)
    serve = runpy.run_path(str(EXAMPLE))
    said = serve["Model"](exported)(photo, box, {"age": 1.0})
    monkeypatch.undo()
    checkpoint = load_checkpoint("synthetic-tiny")
    crop = checkpoint.preprocess.crop(data.astronaut(), box)
    np.testing.assert_allclose(
        said, checkpoint.predict(crop[None], {"age": 1.0}).valence_arousal[0], atol=1e-4
    )


@pytest.mark.parametrize("shape", [(90, 70), (40, 31), (64, 64)])
def test_the_example_squares_a_picture_that_is_one_face_as_idfer_does(
    exported: Path, tmp_path: Path, shape: tuple[int, int]
) -> None:
    file = tmp_path / "whole.onnx"
    file.write_bytes(exported.read_bytes())
    text = exported.with_suffix(".yaml").read_text()
    assert "Where `detector` is none, the image is\n# itself a face" in text
    described = text.replace("detector: auto", "detector: none").replace("margin: 0.2", "margin: 0.1")
    file.with_suffix(".yaml").write_text(described)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    io.imsave(photo := tmp_path / "face.png", image, check_contrast=False)
    served = runpy.run_path(str(EXAMPLE))["Model"](file)
    wanted = Preprocess(64, margin=0.1, detector="none").crop(image)
    np.testing.assert_array_equal(served.crop(image), wanted)
    said = load_checkpoint("synthetic-tiny").predict(wanted[None], {"age": 1.0}).valence_arousal[0]
    np.testing.assert_allclose(served(photo, detach={"age": 1.0}), said, atol=1e-4)
    with pytest.raises(ValueError, match="give no box"):
        served(photo, (0, 0, *shape))


def test_a_file_never_stands_beside_another_s_description(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.onnx"
    before = {file: b"an older model", file.with_suffix(".yaml"): b"# Describes an older model\n"}
    monkeypatch.setattr(exporting, "_traced", lambda checkpoint, strength: onnx.load(exported))
    replace = Path.replace

    def fails(*_: object) -> str:
        raise OSError("the disk is full")

    def killed(self: Path, target: Path) -> Path:
        if target.suffix == ".yaml":
            raise KeyboardInterrupt
        return replace(self, target)

    for where, what, error in ((exporting, "_description", fails), (Path, "replace", killed)):
        for path, content in before.items():
            path.write_bytes(content)
        with monkeypatch.context() as patch, pytest.raises((IdferError, KeyboardInterrupt)):
            patch.setattr(where, what, error)
            idfer.export("synthetic-tiny", file, detach="age=0.5,skin")
        left = {path: path.read_bytes() for path in tmp_path.iterdir()}
        assert left == before or list(left) == [file]


def test_onnx_runtime_alone_needs_no_strength(exported: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of inputs that have a default
    session = onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["image"]
