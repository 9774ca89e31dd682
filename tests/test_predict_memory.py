"""Images in memory: every kind gives what the same picture gives as a file, and what is no image is named."""

from __future__ import annotations

import io
import json
import re
import struct
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from idfer.data.faces import load_detector
from idfer.data.images import read_image
from idfer.errors import UsageError
from idfer.inference.drawing import COLOURS, annotate
from idfer.inference.predictor import Predictor, predict
from photographs import VA, save

pytestmark = pytest.mark.usefixtures("one_thread")

NUMBERS = ["face_id", "x", "y", "width", "height", "face_score", *VA, "detector", "error"]


def png(image: np.ndarray) -> bytes:
    with io.BytesIO() as stream:
        Image.fromarray(image).save(stream, "png")
        return stream.getvalue()


KINDS: dict[str, tuple[Callable[[np.ndarray], object], str]] = {
    "array": (lambda x: x, "array 0"),
    "strided array": (lambda x: np.asfortranarray(x), "array 0"),
    "batch": (lambda x: x[None], "array 0"),
    "tensor": (lambda x: torch.from_numpy(x).permute(2, 0, 1), "tensor 0"),
    "tensors": (lambda x: torch.from_numpy(x).permute(2, 0, 1)[None], "tensor 0"),
    "pillow": (Image.fromarray, "image 0"),
    "bytes": (png, "bytes 0"),
    "bytearray": (lambda x: bytearray(png(x)), "bytes 0"),
    "file": (lambda x: io.BytesIO(png(x)), "file 0"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_in_memory_is_predicted_as_its_file(
    model: Predictor, photos: Path, astronaut: np.ndarray, kind: str
) -> None:
    expected = model(photos / "a one.png", detector="haar").frame()
    make, name = KINDS[kind]
    for given in (make(astronaut[:150, :200]), [make(astronaut[:150, :200])]):
        frame = model(given, detector="haar").frame()
        pd.testing.assert_frame_equal(frame[NUMBERS], expected[NUMBERS])
        in_list = isinstance(given, list) and kind in ("batch", "tensors")
        assert frame["input"].tolist() == [f"{name}[0]" if in_list else name]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "I;16", "F"])
def test_every_mode_of_pillow_as_its_file(
    model: Predictor, astronaut: np.ndarray, tmp_path: Path, mode: str
) -> None:
    picture = Image.fromarray(astronaut[:150, :200])
    if mode == "I;16":
        picture = Image.fromarray(astronaut[:150, :200, 0].astype(np.uint16) * 257)
    elif mode == "F":
        picture = Image.fromarray(astronaut[:150, :200, 0].astype(np.float32) / 255)
    else:
        picture = picture.convert(mode)
    path = tmp_path / ("a.tif" if mode in ("F", "CMYK") else "a.png")
    picture.save(path)
    file, memory = (model(x, detector="none").frame() for x in (path, picture))
    assert file["error"].tolist() == [""]
    pd.testing.assert_frame_equal(memory[NUMBERS], file[NUMBERS])


def test_a_pillow_image_is_turned_upright_as_its_file(
    model: Predictor, astronaut: np.ndarray, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "turned.png", np.rot90(astronaut[:150, :200]), exif=exif)
    with Image.open(path) as opened:
        frame = model(opened, detector="haar").frame()
    upright = model(astronaut[:150, :200], detector="haar").frame()
    pd.testing.assert_frame_equal(frame[NUMBERS], upright[NUMBERS])
    assert frame["input"].tolist() == [str(path)]


def test_grey_and_transparent_arrays(model: Predictor, astronaut: np.ndarray) -> None:
    grey = astronaut[:150, :200, 1]
    see_through = np.dstack([astronaut[:150, :200], np.full((150, 200), 255, np.uint8)])
    see_through[:75, :, 3] = 0
    on_white = astronaut[:150, :200].copy()
    on_white[:75] = 255
    given = [grey, grey[..., None], torch.from_numpy(grey), np.repeat(grey[..., None], 3, 2)]
    one, *others = model([*given, see_through, on_white], detector="none").frame()[VA].to_numpy()
    for other in others[:3]:
        assert np.array_equal(other, one)
    assert np.array_equal(others[3], others[4])
    assert not np.array_equal(others[3], one)


def test_lists_mix_kinds_and_keep_their_order(model: Predictor, photos: Path, astronaut: np.ndarray) -> None:
    batch = np.stack([astronaut[:150, :200], astronaut[:150, :200, ::-1]])
    with (photos / "a one.png").open("rb") as opened:
        given = [photos / "deep", batch, str(photos / "a one.png"), Image.fromarray(batch[0]), opened]
        frame = model(given, detector="none").frame()
    one = str(photos / "a one.png")
    names = [str(photos / "deep" / "d.png"), "array 1[0]", "array 1[1]", one, "image 3", one]
    assert frame["input"].tolist() == names
    va = frame[VA].to_numpy()
    assert np.array_equal(va[1], va[3])
    assert np.abs(va[1] - va[2]).max() > 1e-4, "the order of the channels matters"
    alone = model(batch, detector="none").frame()
    assert alone["input"].tolist() == ["array 0", "array 1"]


IMAGE = np.zeros((8, 8, 3), np.uint8)
NO_IMAGES = [
    (IMAGE / 255, r"array 0: has dtype float64.*0 to 0: scale it with \(x \* 255\)"),
    (IMAGE + 200.0, r"array 0: .*from 200 to 200: round it"),
    (IMAGE - 1.5, r"array 0: .*undo its normalisation"),
    (np.full((8, 8, 3), np.nan), r"array 0: .*NaN"),
    (IMAGE.astype(np.uint16), r"array 0: has dtype uint16.*x >> 8"),
    (IMAGE.astype(np.int64), r"array 0: has dtype int64.*x\.astype"),
    (IMAGE > 0, r"array 0: has dtype bool.*mask"),
    (np.zeros((0, 8, 3), np.uint8), r"array 0: has shape \(0, 8, 3\), no pixel"),
    (np.zeros((0, 8, 8, 3), np.uint8), r"array 0: .*no pixel"),
    (np.zeros(5, np.uint8), r"array 0: has shape \(5,\); give \(H, W, 3\)"),
    (IMAGE.transpose(2, 0, 1), r"array 0: has shape \(3, 8, 8\).*moveaxis"),
    (IMAGE[..., :2], r"array 0: has shape \(8, 8, 2\)"),
    (torch.zeros(8, 8, 3, dtype=torch.uint8), r"tensor 0: has shape \(8, 8, 3\).*channels are last"),
    (torch.zeros(3, 8, 8), r"tensor 0: has dtype float.*\* 255"),
    (torch.zeros(3, 0, 8, dtype=torch.uint8), r"tensor 0: has shape \(3, 0, 8\), no pixel.*\(3, H, W\)"),
    ([IMAGE, None], r"input 1 is None.*cv2\.imread"),
    ([IMAGE, 7], r"input 1 is int.*give a path"),
    (7, r"int is no image"),
    ("https://example.org/me.jpg", r"https://example\.org/me\.jpg: is an address.*bytes"),
    ("data:image/png;base64,AAAA", r"is an address"),
    ([], r"nothing to predict on"),
]


@pytest.mark.parametrize(("given", "message"), NO_IMAGES)
def test_what_is_no_image_is_named_before_any_work(
    model: Predictor, given: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(model.checkpoint), "predict", None)
    with pytest.raises(UsageError, match=message):
        model(given, detector="none")


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that claims many pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_an_image_that_cannot_be_read_is_a_row_among_the_others(
    model: Predictor, astronaut: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = png(astronaut)
    closed, read = io.BytesIO(whole), io.BytesIO(whole)
    closed.close()
    read.read()
    gone = Image.open(save(tmp_path / "gone.png", astronaut))
    gone.close()
    cut = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    monkeypatch.setenv("IDFER_MAX_MEGAPIXELS", "0.1")
    large = np.zeros((400, 400, 3), np.uint8)
    cases: list[tuple[object, str]] = [
        (whole, ""),
        (b"", "bytes 1: is empty"),
        (b"a letter", "bytes 2: is not an image"),
        (whole[:-3000], "bytes 3: is damaged"),
        (bomb(20000), "bytes 4: has more pixels than Pillow reads"),
        (bomb(8000), "bytes 5: has 64 million pixels"),
        (closed, "file 6: cannot be read.*closed"),
        (read, "file 7: has nothing left.*seek"),
        (io.StringIO("text"), "file 8: gives str, no bytes.*'rb'"),
        (gone, r"gone\.png: cannot be read.*closed"),
        (cut, "image 10: cannot be read"),
        (large, "array 11: has 0.16 million pixels"),
        (Image.fromarray(large), "image 12: has 0.16 million pixels"),
        (astronaut, ""),
    ]
    frame = model([given for given, _ in cases], detector="none").frame()
    for error, (_, message) in zip(frame["error"], cases, strict=True):
        assert re.search(message, error) if message else error == "", (error, message)
    assert frame[VA].notna().all(axis=1).tolist() == [message == "" for _, message in cases]


def test_an_address_is_refused_in_the_shell_too(untrained: Path) -> None:
    with pytest.raises(UsageError, match="is an address"):
        predict(["https://example.org/me.jpg"], str(untrained), progress=False)


def test_threads_get_the_numbers_of_one_thread(model: Predictor, photos: Path, astronaut: np.ndarray) -> None:
    given = [np.roll(astronaut[:150, :200], 7 * i, axis=1) for i in range(6)]
    expected = [model(x, detector="haar").frame() for x in given]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: model(x, detector="haar").frame(), given * 4))
    for one, other in zip(found, expected * 4, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_the_detector_is_loaded_once(model: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def load(name: str) -> object:
        made.append(name)
        return load_detector(name)

    monkeypatch.setattr("idfer.inference.framing.load_detector", load)
    for _ in range(3):
        model(IMAGE, detector="haar")
    model(IMAGE, detector="none")
    assert made == ["haar", "none"]


# -- drawing ------------------------------------------------------------------------------------------------


def test_faces_are_drawn_where_they_are(model: Predictor, photos: Path, astronaut: np.ndarray) -> None:
    given = [photos, astronaut[:150, :200], b"no image"]
    predictions = model(given, detector="haar")
    drawn = predictions.draw()
    assert len(drawn) == 6
    assert drawn[-1] is None
    assert np.array_equal(np.asarray(drawn[0]), np.asarray(drawn[4])), "of a file and of its array"
    assert np.array_equal(np.asarray(drawn[2]), read_image(photos / "c none.PNG")), "no face, nothing drawn"
    face = predictions.frame().iloc[0]
    x, y, width, height = (int(face[name]) for name in ("x", "y", "width", "height"))
    changed = (np.asarray(drawn[0]) != astronaut[:150, :200]).any(axis=2)
    assert changed[y : y + height, x].mean() > 0.9
    assert changed[y + height, x : x + width].mean() > 0.9
    assert not changed[y + 16 : y + height - 3, x + 3 : x + width - 3].any(), "the face itself stays"
    six = (np.asarray(drawn[1]) != read_image(photos / "b six.png")).any(axis=2)
    assert all(block.any() for half in np.split(six, 2) for block in np.array_split(half, 3, axis=1))


def test_a_face_keeps_its_colour_and_its_label_is_readable_on_each() -> None:
    def drawn(face: int, valence: float | None) -> np.ndarray:
        row = {"face_id": face, "x": 10, "y": 60, "width": 50, "height": 30, "valence": valence}
        return np.asarray(annotate(np.zeros((100, 100, 3), np.uint8), [row | {"arousal": valence}]))

    def light(colour: np.ndarray) -> float:
        linear = np.where(colour <= 10, colour / 255 / 12.92, ((colour / 255 + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05

    for face in range(2 * len(COLOURS)):
        picture = drawn(face, 0.5)
        assert tuple(picture[90, 40]) == COLOURS[face % len(COLOURS)] == tuple(drawn(face, -1.0)[90, 40])
        label = picture[46:60, 12:90].reshape(-1, 3).astype(float)
        ground = light(np.array(COLOURS[face % len(COLOURS)], float))
        ink = max((light(pixel) for pixel in label), key=lambda value: abs(np.log(value / ground)))
        assert max(ink, ground) / min(ink, ground) > 4.5
    assert len(set(drawn(0, None)[90, 40].tolist())) == 1, "grey without numbers"


def test_a_jpeg_read_reduced_is_drawn_with_its_boxes_reduced(
    model: Predictor, tmp_path: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = np.asarray(Image.fromarray(astronaut[:150, :200]).resize((800, 600)))
    path = save(tmp_path / "large.jpg", large, quality=95)
    monkeypatch.setenv("IDFER_MAX_MEGAPIXELS", "0.2")
    predictions = model(path, detector="haar")
    (drawn,) = predictions.draw()
    assert drawn.size == (400, 300)
    face = predictions.frame().iloc[0]
    x, bottom = int(face["x"]) // 2, int(face["y"] + face["height"]) // 2
    with Image.open(path) as plain:
        plain.draft("RGB", (400, 300))
        changed = (np.asarray(drawn).astype(int) - np.asarray(plain)).any(axis=2)
    assert changed[bottom - 2 : bottom + 2, x + 5].any()


# -- the service --------------------------------------------------------------------------------------------


def test_the_example_serves_photographs(
    untrained: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of starlette about its own client
        from fastapi.testclient import TestClient
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "examples"))
    monkeypatch.delitem(sys.modules, "serve", raising=False)
    monkeypatch.setenv("IDFER_MODEL", str(untrained))
    import serve

    client = TestClient(serve.app)
    answer = client.post("/predict", files={"photo": (photos / "b six.png").read_bytes()})
    assert answer.status_code == 200
    expected = serve.model(photos / "b six.png").frame()
    rows = answer.json()
    assert len(rows) == 6
    assert np.allclose([[row[name] for name in VA] for row in rows], expected[VA], atol=1e-6)
    refused = client.post("/predict", files={"photo": b"a letter"})
    assert refused.status_code == 422
    assert "is not an image" in refused.json()[0]["error"]
    nobody = client.post("/predict", files={"photo": (photos / "c none.PNG").read_bytes()})
    assert (nobody.status_code, nobody.json()[0]["error"]) == (200, "no face found")
    assert json.loads(nobody.text)
