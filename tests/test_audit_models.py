"""Models that are run and audited: one written outside idfer, an ONNX file, and runs of idfer's."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper

import idfer
from films import SIDE, film, picture
from idfer import Manifest, cli
from idfer.auditing.interventions import interventions
from idfer.data.loader import FaceDataset
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError
from idfer.evaluation.foreign import CallableModel, callable_model
from idfer.evaluation.onnx_model import open_onnx
from idfer.synthetic.cross import cross
from idfer.synthetic.dataset import write_splits

EXAMPLES = Path(__file__).parents[1] / "examples"
FAST = {"permutations": 200, "progress": False, "min_people": 5, "intersections": 1}


def test_frames_of_videos_meet_a_table_of_ones_own(tmp_path: Path) -> None:
    """--key path,frame, as the message on repeated paths says; a face had become clip.mp4|3|3."""
    film(tmp_path / "clip.mp4", [picture((k % 3, 8, 8)) for k in range(12)])
    frames = pd.DataFrame({"path": "clip.mp4", "frame": range(12), "subject": [f"p{k}" for k in range(12)]})
    place = {"x": 8, "y": 8, "width": SIDE, "height": SIDE}
    faces = Manifest.from_frame(frames.assign(valence=np.linspace(-1, 1, 12), arousal=0.1, **place), tmp_path)
    gender = frames[["path", "frame"]].assign(gender=["feminine", "masculine"] * 6)

    def score(crops: np.ndarray) -> np.ndarray:
        return crops.reshape(len(crops), -1)[:, :2] / 255.0

    given = {"model": score, "size": 32, "interventions": False, "attributes": gender}
    with pytest.raises(IdferError, match="--key path,frame"):
        idfer.audit(faces, **given, **FAST)
    audit = idfer.audit(faces, key="path,frame", **given, **FAST)
    assert (audit.about["rows"], audit.about["attributes"]) == (12, ["gender"])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("drawn")
    return idfer.synth(folder, identities=40, per_identity=4, size=32, seed=5, split="test", progress=False)


def onnx_file(folder: Path, pixels: int = TensorProto.FLOAT) -> Path:
    """Reads brightness: valence is how red a face is, arousal how blue, and the means are its feature."""
    nodes = [
        helper.make_node("Cast", ["x"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["embedding"], keepdims=0),
        helper.make_node("Gather", ["embedding", "which"], ["va"], axis=1),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
        helper.make_tensor("which", TensorProto.INT64, [2], [0, 2]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "brightness", [info("x", pixels, ["B", 3, 32, 32])],
        [info("va", TensorProto.FLOAT, ["B", 2]), info("embedding", TensorProto.FLOAT, ["B", 3])], constants,
    )  # fmt: skip
    path = folder / "brightness.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    path.with_suffix(".yaml").write_text("size: 32\npixels: [-1, 1]\nfeatures: [embedding]\ndetector: none\n")
    return path


def test_an_onnx_file_is_run_kept_and_audited(drawn: Manifest, tmp_path: Path) -> None:
    model, out = onnx_file(tmp_path), tmp_path / "out"
    arguments = ["audit", "--model", str(model), str(drawn.root / "manifest.parquet"), "-o", str(out)]
    assert cli.main([*arguments, "--min-people", "5", "--permutations", "200", "--progress", "false"]) == 0
    found = json.loads((out / "audit.json").read_text())
    assert found["about"]["kind"] == "model"
    assert found["about"]["attributes"] == ["gender", "age", "skin"]
    leak = {(r["feature"], r["attribute"], r["probe"]): r["score"] for r in found["leakage"]}
    assert leak["embedding", "skin", "linear"] > 0.2  # brightness tells of skin
    assert {c["code"] for c in found["checks"]} >= {"IDF308"}
    effect = {(r["attribute"], r["dimension"]): r for r in found["effects"]}["skin", "valence"]
    assert effect["high"] < 0  # darker faces are darker
    assert {r["part"] for r in found["components"]} >= {"expression", "person", "interaction"}
    kept = pd.read_parquet(out / "features.parquet")
    assert len(kept) == len(drawn)
    faces, features = out / "faces.parquet", out / "features.parquet"
    again = idfer.audit(predictions=faces, attributes=faces, features=features, **FAST)
    scores = again.frame("leakage").set_index(["feature", "attribute", "probe"])["score"]
    assert scores["embedding", "skin", "linear"] == pytest.approx(leak["embedding", "skin", "linear"])


def test_a_model_blind_to_people_has_no_effects() -> None:
    blind = callable_model(lambda crops: np.tile([0.1, 0.2], (len(crops), 1)), "blind", 16)
    found = interventions(blind, people=6, expressions=3)
    assert all(
        abs(e["value"]) < 1e-9
        for of in found["effects"].values()
        for e in of.values()
        if e["value"] == e["value"]
    )
    assert found["components"]["both"]["person"]["value"] == pytest.approx(0)


def test_drawn_faces_are_aligned_for_a_model_that_aligns_and_as_in_its_training(tmp_path: Path) -> None:
    """Its crops are those that training cuts from the same faces, drawn into files with their landmarks."""
    seen: dict[str, list[np.ndarray]] = {"none": [], "landmarks": []}
    for alignment, kept in seen.items():

        def score(crops: np.ndarray, into: list[np.ndarray] = kept) -> np.ndarray:
            into.append(crops.copy())
            return np.tile([0.1, 0.2], (len(crops), 1))

        model = CallableModel("m", score, Preprocess(32, margin=0.1, alignment=alignment))
        interventions(model, people=3, expressions=2, seed=7)
    written = write_splits({"cross": cross(3, 2, 9_000_007)}, tmp_path, size=32, progress=False)
    for alignment, kept in seen.items():
        files = FaceDataset(written, Preprocess(32, margin=0.1, alignment=alignment))
        wanted = np.stack([files.read(row).permute(1, 2, 0).numpy() for row in range(6)])
        off = np.abs(np.concatenate(kept).astype(int) - wanted)
        assert off.mean() < 0.2 and off.max() < 10  # landmarks in files have two digits
    assert np.abs(seen["none"][0].astype(int) - seen["landmarks"][0]).mean() > 5


def test_faces_that_cannot_be_read_are_counted(drawn: Manifest, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    table = drawn.frame.assign(path=[str(file) for file in drawn.files])
    table.loc[3, "path"] = str(tmp_path / "gone.png")

    def score(crops: np.ndarray) -> np.ndarray:
        return crops.reshape(len(crops), -1)[:, :2] / 255.0

    audit = idfer.audit(
        Manifest.from_frame(table, broken), model=score, size=32, detector="none", interventions=False, **FAST
    )
    assert audit.about["rows"] == len(drawn) - 1
    assert "IDF321" in {check.code for check in audit.checks}
    assert len(audit.effects) == 0


def test_a_limit_on_effects_that_could_not_be_measured_does_not_pass(
    drawn: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise IdferError("it needs vectors.")

    def score(crops: np.ndarray) -> np.ndarray:
        return crops.reshape(len(crops), -1)[:, :2] / 255.0

    monkeypatch.setattr("idfer.auditing.interventions.interventions", lost)
    given = {"model": score, "size": 32, "detector": "none", "out": tmp_path / "out", **FAST}
    with pytest.raises(IdferError, match=r"it needs vectors\. Without it"):
        idfer.audit(drawn, fail_on="effect=0.05", **given)
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.slow
def test_the_example_of_a_model_outside_idfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    import audit_outside

    monkeypatch.delitem(sys.modules, "audit_outside")
    audit = audit_outside.main(str(tmp_path), people=60, faces=4)
    assert audit.about["name"] == "ridge"
    assert "age" in set(audit.gaps["attribute"])
    assert (tmp_path / "audit" / "report.html").is_file()


@pytest.mark.slow
def test_erm_and_idfer_are_audited_and_compared(tmp_path: Path, drawn: Manifest) -> None:
    train = idfer.synth(tmp_path / "train", 24, 8, 32, correlation="age:valence=-0.7", seed=1, progress=False)
    table = idfer.retrieve(train, clip="builtin", progress=False)
    for method in ("erm", "idfer"):
        idfer.fit(
            train, table, method=method, out=tmp_path / method, backbone="conv4", size=32, epochs=1,
            batch_size=64, detector="none", progress=False, device="cpu",
        )  # fmt: skip
        given = [
            "audit",
            "--model",
            str(tmp_path / method),
            str(drawn.root),
            "-o",
            str(tmp_path / f"audit-{method}"),
        ]
        fast = ["--min-people", "5", "--permutations", "200", "--intersections", "1", "--progress", "false"]
        assert cli.main([*given, *fast]) == 0
    again = idfer.audit(train, model=tmp_path / "erm", interventions=False, attributes=table, **FAST)
    assert "IDF328" in {check.code for check in again.checks}  # people it was trained on
    assert {a.source for a in again.sample.attributes} == {"retrieved by CLIP builtin"}
    found = json.loads((tmp_path / "audit-idfer" / "audit.json").read_text())
    assert {r["feature"] for r in found["leakage"]} >= {"prediction", "expression", "labels"}
    both = idfer.audit([tmp_path / "audit-erm", tmp_path / "audit-idfer"], min_people=5, permutations=200)
    assert both.to_dict()["about"]["names"] == ["erm", "idfer"]
    assert set(both.gaps["attribute"]) == {"gender", "age", "skin"}


@pytest.mark.slow
def test_a_planted_stereotype_is_seen_before_training(tmp_path: Path) -> None:
    planted = idfer.synth(tmp_path / "set", 60, 6, 32, correlation="age:valence=-0.8", seed=2, progress=False)
    table = idfer.retrieve(planted, clip="builtin", out=tmp_path / "attributes.parquet", progress=False)
    for attributes in (None, table, tmp_path / "attributes.parquet"):
        audit = idfer.audit(data=planted, attributes=attributes, fail_on={"label": 0.05}, **FAST)
        told = audit.frame("stereotype").set_index(["attribute", "label"])
        assert told["p_adjusted"]["age", "valence"] < 0.05
        assert told["normalised"]["age", "valence"] > 0.05
        assert audit.exit_code == 3
        assert "Labels tell of age" in audit.verdict[1]
    assert audit.sample.attributes[0].soft


@pytest.mark.parametrize(
    "line, said",
    [
        ("features: 5", "features is 5; list names"),
        ("valence: embedding\narousal: embedding", r"'embedding' is \(\d+, 3\) for \d+ faces; wanted one"),
    ],
)
def test_an_onnx_description_that_cannot_be(drawn: Manifest, tmp_path: Path, line: str, said: str) -> None:
    model = onnx_file(tmp_path)
    model.with_suffix(".yaml").write_text(f"size: 32\ndetector: none\n{line}\n")
    with pytest.raises(IdferError, match=said):
        idfer.audit(drawn, model=model, interventions=False, **FAST)


@pytest.mark.parametrize("line, said", [("mean: [0.5, 0.5, 0.5]", "mean"), ("pixels: [-1, 1]", "pixels")])
def test_uint8_pixels_are_not_silently_left_unscaled(tmp_path: Path, line: str, said: str) -> None:
    """They go in as they are, so a description that scales them describes another model."""
    model = onnx_file(tmp_path, TensorProto.UINT8)
    model.with_suffix(".yaml").write_text(f"size: 32\ndetector: none\n{line}\n")
    with pytest.raises(IdferError, match=f"uint8 pixels as they are, so {said} in"):
        open_onnx(model)
    for plain in ("", "pixels: [0, 255]"):
        model.with_suffix(".yaml").write_text(f"size: 32\ndetector: none\n{plain}\n")
        assert open_onnx(model).inputs(np.full((1, 32, 32, 3), 7, np.uint8)).dtype == np.uint8


def test_a_function_that_gives_nan_is_not_told_to_train_again(drawn: Manifest) -> None:
    def score(crops: np.ndarray) -> np.ndarray:
        return np.full((len(crops), 2), np.nan)

    with pytest.raises(IdferError, match=r"is not finite; `predict` must give finite") as said:
        idfer.audit(drawn, model=callable_model(score, "score", 32), interventions=False, **FAST)
    assert "weights" not in str(said.value)
