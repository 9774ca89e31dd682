"""From photographs to a table of valence and arousal: what the numbers are."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import idfer
from idfer import AttributeTable, Manifest
from idfer.cli import main
from idfer.data.images import read_image
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, UsageError
from idfer.inference.detach import Detach, strengths
from idfer.inference.output import COLUMNS
from idfer.inference.predictor import Predictor, predict
from idfer.models.network import Network
from idfer.training.retrieval import retrieval_record, vectors_for
from photographs import EXPECTED, VA, read, save

from conftest import BACKBONE
from runs import record_of, write_run

pytestmark = pytest.mark.usefixtures("one_thread")


def test_one_row_per_face_in_the_order_of_the_inputs(model: Predictor, photos: Path) -> None:
    frame = model(photos, detector="haar").frame()
    assert list(frame.columns) == list(COLUMNS) == EXPECTED
    names = [Path(p).name for p in frame["input"]]
    assert names == ["a one.png", *["b six.png"] * 6, "c none.PNG", "d.png"]
    assert frame["face_id"].tolist()[:7] == [0, 0, 1, 2, 3, 4, 5]
    found = frame[frame["error"] == ""]
    assert found[VA].abs().le(1).all(axis=None)
    assert (found["width"] > 25).all()
    assert (frame["frame"] == 0).all()
    assert frame["time"].isna().all()
    assert (frame["detector"] == "haar").all()


def test_an_image_without_a_face_is_a_row_without_numbers(model: Predictor, photos: Path) -> None:
    predictions = model(photos / "c none.PNG", detector="haar")
    row = predictions.frame().iloc[0]
    assert row["error"] == "no face found"
    assert row[["face_id", "x", "width", "face_score", *VA]].isna().all()
    assert len(predictions) == 1


def test_numbers_are_the_networks_on_the_contracts_crop(
    model: Predictor, photos: Path, astronaut: np.ndarray
) -> None:
    row = model(photos / "a one.png", detector="haar").frame().iloc[0]
    contract = model.checkpoint.preprocess
    crop = contract.crop(astronaut[:150, :200], row[["x", "y", "width", "height"]].tolist())
    pixels = torch.from_numpy(crop).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = model.checkpoint.network(contract.normalise(pixels)).valence_arousal[0]
    assert row[VA].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_whole_images_as_faces(model: Predictor, photos: Path) -> None:
    frame = model(photos, detector="none").frame()
    assert len(frame) == 4
    assert frame[["x", "y", "width", "height"]].iloc[0].tolist() == [0, 0, 200, 150]
    assert frame[VA].notna().all(axis=None)
    contract = model.checkpoint.preprocess
    crop = torch.from_numpy(contract.crop(read_image(photos / "a one.png")))  # no box, so no margin
    with torch.inference_mode():
        expected = model.checkpoint.network(contract.normalise(crop.permute(2, 0, 1)[None])).valence_arousal[
            0
        ]
    assert frame.iloc[0][VA].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_batch_size_does_not_change_the_table(model: Predictor, photos: Path, batch_size: int) -> None:
    reference = model(photos, detector="haar", batch_size=3).frame()
    other = model(photos, detector="haar", batch_size=batch_size).frame()
    pd.testing.assert_frame_equal(other, reference, atol=1e-5, rtol=0)


def test_detaching_is_an_argument(model: Predictor, photos: Path) -> None:
    def va(detach: object) -> np.ndarray:
        return model(photos / "a one.png", detach, detector="none").frame()[VA].to_numpy()

    assert model.attributes == ("gender", "age")
    assert np.array_equal(va(None), va(["age", "gender"]))
    assert np.array_equal(va("age"), va(["age"]))
    answers = [va(None), va(["age"]), va(["gender"]), va([])]
    for i, one in enumerate(answers):
        assert all(np.abs(one - other).max() > 1e-4 for other in answers[:i])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (None, None),
        ("age", {"age": 1.0}),
        ("age=0.5,gender", {"age": 0.5, "gender": 1.0}),
        (["age = -1", "gender=2e0"], {"age": -1.0, "gender": 2.0}),
        ({"age": 0.5}, {"age": 0.5}),
        ("none", {}),
        (["none"], {}),
        ([], {}),
    ],
)
def test_strengths_as_people_write_them(written: Detach, meant: dict[str, float] | None) -> None:
    assert strengths(written) == meant


def test_a_strength_takes_part_of_an_attribute_away(model: Predictor, photos: Path) -> None:
    def va(detach: Detach) -> np.ndarray:
        return model(photos / "a one.png", detach, detector="none").frame()[VA].to_numpy()

    assert np.array_equal(va({"age": 1, "gender": 0}), va(["age"]))
    assert np.array_equal(va({"age": 0.5}), va("age=0.5"))
    assert np.array_equal(va({}), va([]))
    values = [va({"age": m}) for m in (-1.0, 0.0, 0.5, 1.0, 2.0)]
    assert all(np.abs(one - two).max() > 1e-5 for one, two in pairwise(values))
    with pytest.raises(UsageError, match="unknown attribute 'aeg'"):
        va({"aeg": 0.5})


def test_another_face_lends_its_identity(
    model: Predictor, photos: Path, astronaut: np.ndarray, tmp_path: Path
) -> None:
    """z' - Σ m r(x) + Σ m r(other), against the network by hand; the largest face is taken."""
    other = save(tmp_path / "other.png", np.tile(astronaut[:130, 50:180], (1, 2, 1))[:, :250, ::-1])
    network, contract = model.checkpoint.network, model.checkpoint.preprocess

    def seen(path: Path) -> torch.Tensor:
        face = model(path, detector="haar").frame().iloc[0]
        crop = contract.crop(read_image(path), face[["x", "y", "width", "height"]].tolist())
        return contract.normalise(torch.from_numpy(crop).permute(2, 0, 1)[None])

    found = model(photos / "a one.png", "age=0.5", swap=other, detector="haar").frame().iloc[0]
    with torch.inference_mode():
        own, theirs = network(seen(photos / "a one.png"), []), network(seen(other))
        feature = own.expression + 0.5 * (theirs.identity[:, 1] - own.identity[:, 1])
        expected = network.head(feature).clamp(-1, 1)[0]
    assert found[VA].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    itself = model(photos / "a one.png", swap=photos / "a one.png", detector="haar").frame()
    whole = model(photos / "a one.png", [], detector="haar").frame()
    pd.testing.assert_frame_equal(itself, whole, atol=1e-5, rtol=0)
    assert abs(found[VA] - whole.iloc[0][VA]).max() > 1e-4


def test_a_face_that_cannot_be_swapped_in_is_named(
    model: Predictor, untrained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(IdferError, match=r"c none\.PNG: no face found to swap in"):
        model(photos / "a one.png", swap=photos / "c none.PNG", detector="haar")
    for other in ("gone.png", "notes.txt"):
        with pytest.raises(IdferError, match=other):
            model(photos / "a one.png", swap=photos / other, detector="haar")
    plain = Predictor(replace(model.checkpoint, network=Network(BACKBONE, 32).eval()))
    with pytest.raises(UsageError, match="--swap"):
        plain(photos / "a one.png", swap=photos / "a one.png", detector="none")
    arguments = ["predict", str(photos / "a one.png"), "--model", str(untrained), "--detector", "none"]
    arguments += ["--progress", "false", "-o", str(tmp_path / "out.csv")]
    assert main([*arguments, "--swap", str(photos / "gone.png")]) == 1
    assert "gone.png" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_strengths_and_swap_on_the_command_line(
    model: Predictor, untrained: Path, photos: Path, tmp_path: Path
) -> None:
    one, other, out = photos / "a one.png", photos / "b six.png", tmp_path / "out.csv"
    arguments = ["predict", str(one), "--model", str(untrained), "--detector", "none", "--progress", "false"]

    def va(*more: str) -> np.ndarray:
        assert main([*arguments, "-o", str(out), *more]) == 0
        return read(out)[VA].to_numpy()

    def expect(*args: object, **kwargs: object) -> np.ndarray:
        return model(one, *args, detector="none", **kwargs).frame()[VA].to_numpy()

    given = {"age": 0.5, "gender": 1.0}
    assert va("--detach", "age=0.5,gender") == pytest.approx(expect(given), abs=1e-5)
    assert va("--detach", "age=-0.5") == pytest.approx(expect({"age": -0.5}), abs=1e-5)
    assert va("--detach", "none") == pytest.approx(expect([]), abs=1e-5)
    assert va("--swap", str(other)) == pytest.approx(expect(swap=other), abs=1e-5)
    assert np.abs(expect(swap=other) - expect()).max() > 1e-4


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CLIP of 1.6 million random weights, in a folder as open_clip keeps them."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def test_attributes_only_where_asked_for(
    model: Predictor, untrained: Path, photos: Path, tmp_path: Path, clip: str
) -> None:
    levels = idfer.Vocabulary.load("default").levels
    columns = [f"{name}/{level}" for name in levels for level in levels[name]]
    out = tmp_path / "out.parquet"
    predict(
        [str(photos)], str(untrained), out=str(out), attributes=True, clip=clip, batch_size=3, progress=False
    )
    frame = read(out)
    assert list(frame.columns) == EXPECTED + columns
    face = frame["error"] == ""
    assert frame.loc[~face, columns].isna().all(axis=None)
    for name in levels:
        total = frame.loc[face, [c for c in columns if c.startswith(f"{name}/")]].sum(axis=1)
        assert total.to_numpy() == pytest.approx(1, abs=1e-5)
    rows = model(photos, attributes=True, clip=clip, detector="haar").frame()[columns]
    assert rows.to_numpy() == pytest.approx(frame[columns].to_numpy(), abs=1e-4, nan_ok=True)


@pytest.fixture(params=["soft", "hard"])
def reads(request: pytest.FixtureRequest, photos: Path, clip: str, tmp_path: Path) -> Predictor:
    """A run of the form `residual_post` with a budget, its photographs retrieved with a CLIP of its own."""
    columns = {"path": sorted(str(p.relative_to(photos)) for p in photos.rglob("[a-d]*.[pP][nN][gG]"))}
    faces = Manifest.from_frame(pd.DataFrame(columns | {"valence": 0.0, "arousal": 0.0}), photos)
    faces.write(photos / "manifest.parquet")
    table = idfer.retrieve(faces, clip, out=photos / "attributes.parquet", device="cpu", progress=False)
    torch.manual_seed(0)
    network = Network(BACKBONE, 32, ["age", "gender"], 16, form="residual_post", embedding=16, code=4)
    with torch.no_grad():
        network.residual.maps_norm.weight.fill_(1.0)
        network.head[-1].weight.mul_(5)
    made = record_of(
        BACKBONE, ["age", "gender"], 16, Preprocess(32), embedding=16, levels=table.levels,
        retrieved=retrieval_record(table), form="residual_post", code=4, retrieval=request.param,
    )  # fmt: skip
    folder = write_run(tmp_path / "reads", network, made, text=table.select(["age", "gender"]).text)
    return idfer.load(str(folder), device="cpu")


def test_predict_retrieves_the_vectors_that_a_run_reads_as_a_data_sets(
    reads: Predictor, photos: Path
) -> None:
    faces = Manifest.read(photos)
    table = AttributeTable.read(photos / "attributes.parquet")
    vectors = vectors_for(reads.checkpoint, faces, table)
    assert vectors is not None
    contract = reads.checkpoint.preprocess
    images = [torch.from_numpy(contract.crop(read_image(f))).permute(2, 0, 1) for f in faces.files]
    with torch.inference_mode():
        expected = reads.checkpoint.network(
            contract.normalise(torch.stack(images)), retrieved=torch.from_numpy(vectors)
        ).valence_arousal
    assert expected.std(0).min() > 1e-3
    for batch_size in (1, 3):
        frame = reads(list(faces.files), detector="none", batch_size=batch_size).frame()
        assert list(frame.columns) == EXPECTED, "what is inferred on the way is not shown"
        assert frame[VA].to_numpy() == pytest.approx(expected.numpy(), abs=1e-4)


def test_swapping_works_where_vectors_are_read(reads: Predictor, photos: Path) -> None:
    one, other = photos / "a one.png", photos / "b six.png"
    whole = reads(one, [], detector="none").frame()
    pd.testing.assert_frame_equal(reads(one, swap=one, detector="none").frame(), whole, atol=1e-5, rtol=0)
    swapped = reads(one, swap=other, detector="none").frame()
    assert (swapped[VA] - whole[VA]).abs().to_numpy().max() > 1e-5


def test_a_clip_that_is_absent_or_another_is_named(reads: Predictor, photos: Path, tmp_path: Path) -> None:
    known = reads.checkpoint.record

    def ask(**changes: object) -> None:
        checkpoint = replace(reads.checkpoint, record=replace(known, **changes))
        Predictor(checkpoint)(photos / "a one.png", detector="none")

    source = known.retrieved
    with pytest.raises(IdferError, match=r"'residual_post' reads ID vectors of the CLIP .*gone.*no such"):
        ask(retrieved={**source, "clip": f"local-dir:{tmp_path / 'gone'}"})
    with pytest.raises(IdferError, match=r"of fingerprint 0123, and the one here has"):
        ask(retrieved={**source, "clip_fingerprint": "0123"})
    with pytest.raises(IdferError, match="does not say the clip of its ID vectors"):
        ask(retrieved={})
    with pytest.raises(UsageError, match=r"--retrieval truth.*photographs have none"):
        ask(settings=known.settings.changed(retrieval="truth"))
