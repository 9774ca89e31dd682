"""From photographs to a table of valence and arousal: every kind of input, output and failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import skimage.data
import torch
from PIL import Image

import idfer
from idfer import AttributeTable, Manifest
from idfer.cli import main
from idfer.data.images import Preprocess, read_image
from idfer.errors import IdferError, UsageError
from idfer.inference.detach import Detach, strengths
from idfer.inference.output import COLUMNS
from idfer.inference.predictor import Predictor, predict
from idfer.inference.stream import Stream
from idfer.models.network import Network
from idfer.training.checkpoint import save_model, write_config
from idfer.training.retrieval import record, vectors_for

VA = ["valence", "arousal"]
EXPECTED = ["input", "frame", "time", "face_id", "x", "y", "width", "height", "face_score"]
EXPECTED += [*VA, "detector", "error"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a small untrained network, its head made sensitive so that inputs matter."""
    folder = tmp_path_factory.mktemp("run")
    contract = Preprocess(32, margin=0.2)
    torch.manual_seed(0)
    network = Network("test_resnet", contract.size, ["gender", "age"], 16)
    with torch.no_grad():
        network.head[-1].weight.mul_(5)
    config = {"backbone": "test_resnet", "attributes": ["gender", "age"], "dim": 16}
    write_config(folder, config | {"preprocess": contract.to_dict()})
    save_model(folder, network)
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> Predictor:
    return idfer.load(str(run), device="cpu")


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    """The photograph at half size, (256, 256, 3), where Haar is fast; the face is 57 pixels high."""
    return cv2.resize(skimage.data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def photos(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A folder with one face, six faces, no face, and in a subfolder one more."""
    folder = tmp_path / "photos"
    (folder / "deep" / ".hidden").mkdir(parents=True)
    save(folder / "a one.png", astronaut[:150, :200])
    save(folder / "b six.png", np.tile(astronaut[:130, 50:180], (2, 3, 1)))
    save(folder / "c none.PNG", skimage.data.coffee()[:200, :200])
    save(folder / "deep" / "d.png", astronaut[:120, 45:165, ::-1])
    save(folder / "deep" / ".hidden" / "e.png", astronaut)
    (folder / "notes.txt").write_text("not an image, and not asked about")
    return folder


def save(path: Path, image: np.ndarray, mode: str | None = None, **options: object) -> Path:
    pixels = Image.fromarray(image)
    (pixels if mode is None else pixels.convert(mode)).save(path, **options)
    return path


def read(path: Path) -> pd.DataFrame:
    return {
        ".csv": pd.read_csv,
        ".parquet": pd.read_parquet,
        ".jsonl": lambda p: pd.read_json(p, lines=True),
    }[path.suffix](path)


# -- what comes out -----------------------------------------------------------------------------------------


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
    model: Predictor, run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(IdferError, match=r"c none\.PNG: no face found to swap in"):
        model(photos / "a one.png", swap=photos / "c none.PNG", detector="haar")
    for other in ("gone.png", "notes.txt"):
        with pytest.raises(IdferError, match=other):
            model(photos / "a one.png", swap=photos / other, detector="haar")
    plain = Predictor(replace(model.checkpoint, network=Network("test_resnet", 32).eval()))
    with pytest.raises(UsageError, match="--swap"):
        plain(photos / "a one.png", swap=photos / "a one.png", detector="none")
    arguments = ["predict", str(photos / "a one.png"), "--model", str(run), "--detector", "none"]
    arguments += ["--progress", "false", "-o", str(tmp_path / "out.csv")]
    assert main([*arguments, "--swap", str(photos / "gone.png")]) == 1
    assert "gone.png" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_strengths_and_swap_on_the_command_line(
    model: Predictor, run: Path, photos: Path, tmp_path: Path
) -> None:
    one, other, out = photos / "a one.png", photos / "b six.png", tmp_path / "out.csv"
    arguments = ["predict", str(one), "--model", str(run), "--detector", "none", "--progress", "false"]

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
    model: Predictor, run: Path, photos: Path, tmp_path: Path, clip: str
) -> None:
    levels = idfer.Vocabulary.load("default").levels
    columns = [f"{name}/{level}" for name in levels for level in levels[name]]
    out = tmp_path / "out.parquet"
    predict([str(photos)], str(run), out=str(out), attributes=True, clip=clip, batch_size=3, progress=False)
    frame = read(out)
    assert list(frame.columns) == EXPECTED + columns
    face = frame["error"] == ""
    assert frame.loc[~face, columns].isna().all(axis=None)
    for name in levels:
        total = frame.loc[face, [c for c in columns if c.startswith(f"{name}/")]].sum(axis=1)
        assert total.to_numpy() == pytest.approx(1, abs=1e-5)
    rows = model(photos, attributes=True, clip=clip, detector="haar").frame()[columns]
    assert rows.to_numpy() == pytest.approx(frame[columns].to_numpy(), abs=1e-4, nan_ok=True)


# -- networks that read retrieved ID vectors ----------------------------------------------------------------


@pytest.fixture(params=["soft", "hard"])
def reads(request: pytest.FixtureRequest, photos: Path, clip: str, tmp_path: Path) -> Predictor:
    """A run of the form `residual_post` with a budget, its photographs retrieved with a CLIP of its own."""
    columns = {"path": sorted(str(p.relative_to(photos)) for p in photos.rglob("[a-d]*.[pP][nN][gG]"))}
    faces = Manifest.from_frame(pd.DataFrame(columns | {"valence": 0.0, "arousal": 0.0}), photos)
    faces.write(photos / "manifest.parquet")
    table = idfer.retrieve(faces, clip, out=photos / "attributes.parquet", device="cpu", progress=False)
    options = {"form": "residual_post", "embedding": 16, "code": 4}
    torch.manual_seed(0)
    network = Network("test_resnet", 32, ["age", "gender"], 16, **options)
    with torch.no_grad():
        network.residual.maps_norm.weight.fill_(1.0)
        network.head[-1].weight.mul_(5)
    config = {"backbone": "test_resnet", "attributes": ["age", "gender"], "dim": 16, "network": options}
    config |= {"levels": table.levels, "retrieval": request.param, "retrieved": record(table)}
    write_config(tmp_path / "reads", config | {"preprocess": Preprocess(32).to_dict()})
    save_model(tmp_path / "reads", network, text=table.select(["age", "gender"]).text)
    return idfer.load(str(tmp_path / "reads"), device="cpu")


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
    def ask(**changes: object) -> None:
        config = reads.checkpoint.config | changes
        Predictor(replace(reads.checkpoint, config=config))(photos / "a one.png", detector="none")

    source = reads.checkpoint.config["retrieved"]
    with pytest.raises(IdferError, match=r"'residual_post' reads ID vectors of the CLIP .*gone.*no such"):
        ask(retrieved=source | {"clip": f"local-dir:{tmp_path / 'gone'}"})
    with pytest.raises(IdferError, match=r"of fingerprint 0123, and the one here has"):
        ask(retrieved=source | {"clip_fingerprint": "0123"})
    with pytest.raises(IdferError, match="does not say the clip of its ID vectors"):
        ask(retrieved={})
    with pytest.raises(UsageError, match=r"--retrieval truth.*photographs have none"):
        ask(retrieval="truth")


# -- what goes in -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_photographs_give_the_upright_answer(
    model: Predictor, tmp_path: Path, astronaut: np.ndarray, orientation: int
) -> None:
    store = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = astronaut[:150, :200]
    Image.fromarray(image).transpose(Image.Transpose(store)).save(tmp_path / "turned.png", exif=exif)
    save(tmp_path / "upright.png", image)
    turned, upright = (model(tmp_path / f"{n}.png", detector="haar").frame() for n in ("turned", "upright"))
    pd.testing.assert_frame_equal(turned.drop(columns="input"), upright.drop(columns="input"))
    assert len(upright) == 1


@pytest.mark.parametrize("kind", ["L.png", "CMYK.jpg", "CMYK.tif", "RGBA.png", "P.png", "16.png", "16.tif"])
def test_every_kind_of_image_shows_its_face(
    model: Predictor, tmp_path: Path, astronaut: np.ndarray, kind: str
) -> None:
    image, path = astronaut[:150, :200], tmp_path / kind
    if path.stem == "16":
        cv2.imwrite(str(path), image[..., ::-1].astype(np.uint16) * 257)
    else:
        save(path, image, path.stem, **({"quality": 95} if kind.endswith("jpg") else {}))
    plain = model(save(tmp_path / "plain.png", image), detector="haar").frame().iloc[0]
    frame = model(path, detector="haar").frame()
    assert frame["error"].tolist() == [""]
    box = ["x", "y", "width", "height"]
    assert (frame.iloc[0][box] - plain[box]).abs().max() <= 6
    if path.stem in {"16", "RGBA"}:
        assert frame.iloc[0][VA].tolist() == pytest.approx(plain[VA].tolist(), abs=1e-6)


def test_files_and_folders_keep_the_order_given(model: Predictor, photos: Path) -> None:
    given = [photos / "deep", photos / "a one.png", photos / "deep" / "d.png"]
    names = [Path(p).name for p in model(given, detector="none").frame()["input"]]
    assert names == ["d.png", "a one.png", "d.png"]


# -- failures -----------------------------------------------------------------------------------------------


@pytest.fixture
def spoiled(photos: Path) -> Path:
    """The folder with three files that cannot be read among the good ones."""
    whole = save(photos / "b cut.jpg", read_image(photos / "b six.png"), quality=90).read_bytes()
    (photos / "b cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "a empty.jpg").touch()
    (photos / "z text.jpg").write_text("I am a letter")
    return photos


def test_bad_images_become_rows_and_the_rest_is_predicted(
    model: Predictor, photos: Path, request: pytest.FixtureRequest
) -> None:
    clean = model(photos, detector="haar").frame()
    frame = model(request.getfixturevalue("spoiled"), detector="haar").frame()
    bad = frame["error"].str.contains("0 bytes|incomplete|not an image")
    assert [Path(p).name for p in frame["input"][bad]] == ["a empty.jpg", "b cut.jpg", "z text.jpg"]
    assert frame.loc[bad, ["face_id", "x", "detector", *VA]].isna().all(axis=None)
    pd.testing.assert_frame_equal(frame[~bad].reset_index(drop=True), clean, atol=1e-5, rtol=0)


def test_unreadable_inputs_are_told_after_all_results_are_written(
    run: Path, spoiled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    with pytest.raises(IdferError, match=r"4 of 8 inputs could not be read \(first: .*a empty.jpg") as caught:
        predict([str(spoiled), "gone.png"], str(run), detector="none", out=str(out), progress=False)
    assert caught.value.exit_code == 1
    written = read(out)
    assert len(written) == 8
    assert written["valence"].notna().sum() == 4


def test_missing_file_is_a_row(run: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    inputs = [str(photos / "gone.png"), str(photos / "a one.png")]
    with pytest.raises(IdferError, match="1 of 2"):
        predict(inputs, str(run), detector="none", out=str(out), progress=False)
    assert read(out)["error"].fillna("").str.contains("no such file").tolist() == [True, False]


def test_no_face_is_not_a_failure(run: Path, photos: Path, tmp_path: Path) -> None:
    predict([str(photos)], str(run), detector="haar", out=str(tmp_path / "out.csv"), progress=False)
    assert (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"detach": ["aeg"]}, "unknown attribute 'aeg'.*Did you mean 'age'.*gender"),
        ({"detach": ["age", "none"]}, "--detach"),
        ({"detach": "age=much"}, "--detach age=much: the strength must be a number"),
        ({"detach": "age=nan"}, "must be a number"),
        ({"detach": "age,age=0.5"}, "'age' twice"),
        ({"detach": ""}, "--detach takes attributes"),
        ({"detach": "none", "swap": "other.png"}, "--swap .* none is detached"),
        ({"out": "out.xlsx"}, r"out\.xlsx.*\.csv"),
        ({"out": "."}, "format|folder"),
        ({"detector": "hear"}, "unknown detector"),
        ({"model": "nowhere"}, "nowhere"),
        ({"inputs": ["clip.mp4"]}, "video"),
        ({"inputs": []}, "nothing to predict"),
        ({"batch_size": 0}, "batch_size"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_wrong_requests_are_refused_before_any_work(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("idfer.inference.stream.read_image", lambda path: pytest.fail("read an image"))
    request = {"inputs": [str(photos)], "model": str(run), "out": "out.csv", "progress": False}
    with pytest.raises(UsageError, match=reason):
        predict(**request | change)
    assert not Path("out.csv").exists()


def test_folder_without_images_is_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "a.txt").touch()
    with pytest.raises(IdferError, match=r"bare: holds no image"):
        predict([str(tmp_path / "bare")], str(run), progress=False)


def test_unwritable_output_is_found_before_the_work(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idfer.inference.stream.read_image", lambda path: pytest.fail("read an image"))
    (tmp_path / "file").touch()
    with pytest.raises(IdferError, match="cannot write"):
        predict([str(photos)], str(run), out=str(tmp_path / "file" / "out.csv"), progress=False)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_stopped_early_keeps_what_was_made(
    run: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[BaseException],
) -> None:
    queue = Stream._queue

    def stop_at_third(self: Stream, file: Path) -> None:
        if file.name.startswith("c"):
            raise error
        queue(self, file)

    monkeypatch.setattr(Stream, "_queue", stop_at_third)
    out = tmp_path / "out.csv"
    with pytest.raises(error):
        predict([str(photos)], str(run), detector="none", out=str(out), batch_size=1, progress=False)
    assert [Path(p).name for p in read(out)["input"]] == ["a one.png", "b six.png"]
    assert "stopped early" in capsys.readouterr().err


def test_a_full_disk_keeps_the_old_results(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(frame: pd.DataFrame, header: bool = False) -> str:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out.csv"
    out.write_text("yesterday's\n")
    monkeypatch.setattr("idfer.inference.output._csv", full)
    with pytest.raises(IdferError, match="No space left"):
        predict([str(photos)], str(run), detector="none", out=str(out), progress=False)
    assert out.read_text() == "yesterday's\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "photos"]


def test_damaged_weights_never_pass_as_numbers(run: Path, photos: Path) -> None:
    model = idfer.load(str(run), device="cpu")
    with torch.no_grad():
        model.checkpoint.network.head[-1].bias.fill_(float("nan"))
    frame = model(photos / "a one.png", detector="none").frame()
    assert "not a number" in frame["error"].iloc[0]


# -- files and streams --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_format_holds_the_same_table(
    model: Predictor, run: Path, spoiled: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"out{suffix}"
    with pytest.raises(IdferError, match="3 of 7"):
        predict([str(spoiled)], str(run), detector="haar", out=str(out), batch_size=2, progress=False)
    written = read(out)
    expected = model(spoiled, detector="haar", batch_size=2).frame()
    assert list(written.columns) == EXPECTED
    written = written.astype(COLUMNS)
    written["error"] = written["error"].fillna("")
    pd.testing.assert_frame_equal(written, expected, atol=1e-5, rtol=1e-5)


def test_whole_numbers_stay_whole_in_text_files(run: Path, photos: Path, tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl"):
        predict([str(photos)], str(run), detector="haar", out=str(tmp_path / f"o.{suffix}"), progress=False)
    first = (tmp_path / "o.csv").read_text().splitlines()[1].split(",")
    assert all(first[EXPECTED.index(c)].isdigit() for c in ("frame", "face_id", "x", "y", "width", "height"))
    row = json.loads((tmp_path / "o.jsonl").read_text().splitlines()[0])
    assert all(isinstance(row[c], int) for c in ("frame", "face_id", "x", "y", "width", "height"))
    assert row["time"] is None


def test_csv_on_stdout_is_clean_and_warnings_go_to_stderr(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict([str(photos)], str(run), progress=True)  # offline: falls back to Haar
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0].split(",") == EXPECTED
    assert len(lines) == 10
    assert all(line.count(",") == len(EXPECTED) - 1 for line in lines)
    assert "Haar" in told.err


def test_a_reader_that_has_seen_enough_is_no_failure(
    run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `idfer predict ... | head`."""
    unread, written = os.pipe()
    os.close(unread)
    with open(written, "w") as stdout:  # noqa: PTH123
        monkeypatch.setattr("sys.stdout", stdout)
        predict([str(photos)], str(run), detector="none", progress=False)
        print("more, which the exit would flush")


def test_detach_values_with_commas_and_none(run: Path, photos: Path, tmp_path: Path) -> None:
    def va(detach: list[str] | None) -> np.ndarray:
        out = str(tmp_path / "out.csv")
        predict([str(photos / "a one.png")], str(run), detach, out, "none", progress=False)
        return read(tmp_path / "out.csv")[VA].to_numpy()

    everything = va(None)
    assert np.array_equal(va(["age,gender"]), everything)
    assert np.array_equal(va(["age", "gender"]), everything)
    assert not np.array_equal(va(["none"]), everything)


def test_file_names_that_are_not_utf8(run: Path, photos: Path, tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(photos) + b"/caf\xe9.png"))
    strange.write_bytes((photos / "a one.png").read_bytes())
    predict([str(strange)], str(run), detector="none", out=str(tmp_path / "out.csv"), progress=False)
    assert "caf" in read(tmp_path / "out.csv")["input"].iloc[0]


def test_rows_leave_as_they_are_made(model: Predictor, tmp_path: Path) -> None:
    """Constant memory: 600 images never wait together, with faces or without."""
    path = save(tmp_path / "a.png", np.zeros((20, 20, 3), np.uint8))

    def most_waiting(detector: str) -> int:
        taken: list[Path] = []
        files = (taken.append(path) or path for _ in range(600))
        done, most = 0, 0
        for table in model.stream(detector=detector, batch_size=16).run(files):
            most = max(most, len(taken) - done)
            done += len(table)
        assert done == 600
        return most

    assert most_waiting("none") == 16
    assert most_waiting("haar") <= 256


def test_import_is_light() -> None:
    """`idfer predict --help` must not wait for torch."""
    heavy = {"torch", "cv2", "pandas", "timm", "PIL", "pyarrow"}
    code = f"import sys, idfer.inference.predictor; print(*{heavy} & {{*sys.modules}})"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""
