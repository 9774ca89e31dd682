"""Reading images of every kind a camera or editor makes, and the preprocessing contract."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from idfer.data.images import Preprocess, read_image, read_regular
from idfer.errors import IdferError


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth colour gradient without any symmetry, (40, 56, 3) uint8."""
    y, x = np.mgrid[0:40, 0:56]
    return np.stack([4 * x, 6 * y, 255 - 2 * (x + y)], axis=2).astype(np.uint8)


def saved(path: Path, image: np.ndarray, mode: str | None = None, **options: object) -> Path:
    pixels = Image.fromarray(image)
    (pixels if mode is None else pixels.convert(mode)).save(path, **options)
    return path


def test_png_is_read_exactly(tmp_path: Path, picture: np.ndarray) -> None:
    read = read_image(saved(tmp_path / "a.png", picture))
    assert read.dtype == np.uint8
    assert np.array_equal(read, picture)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_orientation_is_undone(
    tmp_path: Path, picture: np.ndarray, orientation: int, suffix: str
) -> None:
    """The file is stored as a camera held in each of the eight ways stores it."""
    store = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # inverse of the reader's turn
    image = Image.fromarray(picture)
    image = image if store is None else image.transpose(Image.Transpose(store))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if suffix == ".webp" else {"quality": 98} if suffix == ".jpg" else {}
    image.save(tmp_path / f"a{suffix}", exif=exif, **lossless)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / f"a{suffix}")))
    read = read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(read, expected)
    assert np.abs(read.astype(int) - picture).mean() < 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
def test_broken_exif_does_not_cost_the_photograph(tmp_path: Path, picture: np.ndarray) -> None:
    path = saved(tmp_path / "a.jpg", picture, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage")
    assert read_image(path).shape == picture.shape


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA"])
def test_other_modes_show_the_same_picture(tmp_path: Path, picture: np.ndarray, mode: str) -> None:
    suffix = ".tif" if mode == "CMYK" else ".png"
    read = read_image(saved(tmp_path / f"a{suffix}", picture, mode))
    assert read.shape == picture.shape
    expected = np.asarray(Image.fromarray(picture).convert(mode.rstrip("A")).convert("RGB"))
    assert np.abs(read.astype(int) - expected).max() <= 2


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path, picture: np.ndarray) -> None:
    """Adobe writes CMYK JPEGs inverted; Pillow marks and undoes it."""
    read = read_image(saved(tmp_path / "a.jpg", picture, "CMYK", quality=98))
    assert np.abs(read.astype(int) - picture).mean() < 6


def test_transparent_pixels_lie_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (200, 0, 0, 255)
    rgba[2] = (0, 0, 0, 128)
    read = read_image(saved(tmp_path / "a.png", rgba))
    assert (read[0, 0].tolist(), read[3, 0].tolist()) == ([200, 0, 0], [255, 255, 255])
    assert abs(int(read[2, 0, 0]) - 127) <= 1
    palette = Image.fromarray(np.zeros((4, 4), np.uint8), mode="P")
    palette.putpalette([10, 20, 30])
    palette.save(tmp_path / "p.gif", transparency=0)
    assert (read_image(tmp_path / "p.gif") == 255).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, suffix: str, channels: int) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    image = ramp if channels == 1 else np.dstack([ramp, ramp[::-1], ramp.T])
    if channels == 4:
        image = np.dstack([image, np.full_like(ramp, 65535)])
    cv2.imwrite(str(tmp_path / f"a{suffix}"), image)
    expected = np.repeat(ramp[..., None], 3, axis=2) if channels == 1 else image[..., 2::-1]  # OpenCV has BGR
    assert np.abs(read_image(tmp_path / f"a{suffix}").astype(float) - expected / 257).max() <= 1


def test_sixteen_bit_image_with_exif_rotation(tmp_path: Path) -> None:
    ramp = (np.arange(20 * 30, dtype=np.uint16) * 100).reshape(20, 30)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(ramp).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png")[..., 0], np.rot90(ramp >> 8, -1))


def test_floating_point_images(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    assert np.abs(read_image(tmp_path / "a.tif")[..., 1] - 255 * ramp).max() <= 0.51
    for number, bad in enumerate([ramp * 300, np.where(ramp > 0.5, np.nan, ramp)]):
        Image.fromarray(bad.astype(np.float32)).save(tmp_path / f"bad{number}.tif")
        with pytest.raises(IdferError, match="floating-point"):
            read_image(tmp_path / f"bad{number}.tif")


def test_first_image_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=50)
        read = read_image(tmp_path / name)
        assert np.abs(read.astype(int) - [255, 0, 0]).max() <= 6


BAD_FILES = {
    "empty.jpg": (b"", "0 bytes"),
    "text.jpg": (b"I am a letter, not a photograph.\n", "not an image"),
    "phone.heic": (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "convert it to JPEG"),
    "program.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_unreadable_content_is_one_clear_line(tmp_path: Path, name: str) -> None:
    content, reason = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(IdferError, match=reason) as caught:
        read_image(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif", "bmp"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
def test_cut_off_files_are_errors_not_grey_patches(tmp_path: Path, suffix: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = saved(tmp_path / f"whole.{suffix}", noise).read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(whole[: int(kept * len(whole))])
    read_image(tmp_path / f"whole.{suffix}")
    with pytest.raises(IdferError, match=f"cut.{suffix}: .*(damaged|not an image)"):
        read_image(tmp_path / f"cut.{suffix}")


def irregular(folder: Path, kind: str) -> Path:
    """A path that is no regular file, of one of the kinds that a folder can hold."""
    path = folder / "odd.jpg"
    match kind:
        case "pipe":
            os.mkfifo(path)  # opening it would wait for ever
        case "device":
            path.symlink_to("/dev/zero")  # reading it would never end
        case "link loop":
            path.symlink_to(path)
        case "broken link":
            path.symlink_to(folder / "gone.jpg")
        case "long name":
            return folder / ("x" * 5000 + ".jpg")
        case "null":
            return folder / "nul\0character.jpg"
        case "folder":
            path.mkdir()
    return path


IRREGULAR = {
    "missing": "no such file",
    "folder": "is a folder",
    "pipe": "pipe",
    "device": "device",
    "link loop": "symbolic links",
    "broken link": "link to what is not there",
    "long name": "name too long",
    "null": "null",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", IRREGULAR)
@pytest.mark.parametrize("read", [read_image, read_regular])
def test_what_is_not_a_file(tmp_path: Path, kind: str, read: Callable[[Path], object]) -> None:
    with pytest.raises(IdferError, match=rf"(?i){IRREGULAR[kind]}") as caught:
        read(irregular(tmp_path, kind))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def test_bytes_of_a_regular_file_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_regular(tmp_path / "a") == b"12345"
    assert read_regular(tmp_path / "a", limit=5) == b"12345"
    with pytest.raises(IdferError, match="more than"):
        read_regular(tmp_path / "a", limit=4)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_without_permission(tmp_path: Path, picture: np.ndarray) -> None:
    path = saved(tmp_path / "a.png", picture)
    path.chmod(0)
    with pytest.raises(IdferError, match="permission"):
        read_image(path)


def test_decompression_bomb(tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", picture)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", picture.shape[0] * picture.shape[1] - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        assert np.array_equal(read_image(path), picture)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(IdferError, match="pixels; scale it down"):
        read_image(path)


# -- the preprocessing contract -----------------------------------------------------------------------------


@given(st.integers(1, 96))
def test_image_of_the_networks_size_is_unchanged(size: int) -> None:
    image = np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)
    assert np.array_equal(Preprocess(size, margin=0.3).crop(image), image)


def test_crop_is_the_square_around_the_box_with_margin() -> None:
    """A 20 x 30 box with margin 0.1 is a 36-pixel square about the same centre."""
    image = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    crop = Preprocess(36, margin=0.1).crop(image, (40, 30, 20, 30))
    assert np.array_equal(crop, image[27:63, 32:68])


def test_crop_repeats_the_edge_outside_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    crop = Preprocess(20).crop(image, (-5, 40, 20, 20))
    padded = np.pad(image, ((20, 20), (20, 20), (0, 0)), mode="edge")
    assert np.array_equal(crop, padded[60:80, 15:35])


def test_whole_image_is_squared_without_distortion() -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[10:30, 30:50] = 255  # a white square in the middle must stay square
    crop = Preprocess(40, margin=0.5).crop(image)
    white = crop[..., 0] > 127
    assert (white.any(axis=1).sum(), white.any(axis=0).sum()) == (10, 10)


def test_shrinking_averages_areas_exactly() -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    means = image.reshape(16, 6, 16, 6, 3).mean(axis=(1, 3))
    assert np.abs(Preprocess(16).crop(image) - means).max() <= 0.51


@pytest.mark.parametrize(
    "box", [(0, 0, 0, 5), (0, 0, -3, 5), (np.nan, 0, 5, 5), (60, 0, 5, 5), (-9, 0, 5, 5), (0, 0, 1e7, 5)]
)
def test_impossible_boxes_are_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(IdferError, match="box"):
        Preprocess(8).crop(np.zeros((50, 50, 3), np.uint8), box)


def test_normalise_inverts_to_the_pixels() -> None:
    contract = Preprocess(4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    pixels = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    scaled = contract.normalise(pixels)
    assert scaled.dtype == torch.float32
    mean, std = torch.tensor(contract.mean), torch.tensor(contract.std)
    back = (scaled * std[:, None, None] + mean[:, None, None]) * 255
    assert torch.allclose(back, pixels.float(), atol=1e-3)


def test_contract_survives_writing_and_reading() -> None:
    contract = Preprocess(96, margin=0.2, mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0))
    plain = contract.to_dict()
    assert all(isinstance(v, (int, float, str, list)) for v in plain.values())
    assert Preprocess.from_dict(plain) == contract


@pytest.mark.parametrize("key", Preprocess(8).to_dict())
def test_contract_with_a_missing_key_is_refused(key: str) -> None:
    plain = Preprocess(8).to_dict()
    del plain[key]
    with pytest.raises(IdferError, match=f"'{key}' is missing"):
        Preprocess.from_dict(plain)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gamma", 2.2), ("alignment", "landmarks"), ("colour_order", "BGR"), ("resize", "bicubic"),
        ("size", 0), ("size", 64.5), ("size", True), ("margin", -0.1), ("margin", float("nan")),
        ("mean", [0.5, 0.5]),
        ("mean", "RGB"), ("std", [1.0, 0.0, 1.0]), ("output_range", [1.0, -1.0]),
    ],
)  # fmt: skip
def test_contract_this_version_cannot_honour_is_refused(key: str, value: object) -> None:
    with pytest.raises(IdferError, match=key):
        Preprocess.from_dict(Preprocess(8).to_dict() | {key: value})
