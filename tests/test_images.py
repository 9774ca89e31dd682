"""Reading images of every kind a camera or editor makes, and the preprocessing contract."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from idfer.data.images import read_image, read_reduced, read_regular
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, UsageError


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
    with pytest.raises(IdferError, match="more pixels than Pillow reads"):
        read_image(path)


# -- size: what a file claims is checked before anything is decoded ------------------------------------------

PEAK = """
import re, sys
from pathlib import Path
from idfer.data.images import read_image
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError
import PIL.JpegImagePlugin, PIL.PngImagePlugin, cv2
def highest():  # not ru_maxrss: that begins with the peak of the process that started this one
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
before = highest()
try:
    print(Preprocess(32).crop(read_image(sys.argv[1])).shape)
except IdferError as error:
    print(error)
print(highest() - before)
"""
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux tells the peak memory")


def peak(path: Path) -> tuple[str, int]:
    """What a new process says of reading and cropping a file, and how many MB that took it."""
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    *said, memory = done.stdout.splitlines()
    return "\n".join(said), int(memory)


def claiming(width: int, height: int) -> dict[str, bytes]:
    """Small files that claim many pixels: the headers of small images with their sizes replaced."""
    files = {}
    for name in ("JPEG", "GIF", "PNG", "BMP"):
        stream = BytesIO()
        Image.new("RGB", (8, 8)).save(stream, name)
        files[name] = bytearray(stream.getvalue())
    at = files["JPEG"].index(b"\xff\xc0") + 5
    files["JPEG"][at : at + 4] = struct.pack(">HH", height, width)
    files["GIF"][6:10] = struct.pack("<HH", width, height)
    files["PNG"][16:24] = struct.pack(">II", width, height)
    files["PNG"][29:33] = struct.pack(">I", zlib.crc32(files["PNG"][12:29]))
    files["BMP"][18:26] = struct.pack("<ii", width, height)
    return {name: bytes(data) for name, data in files.items()}


@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", ["JPEG", "GIF", "PNG", "BMP"])
def test_a_small_file_that_claims_many_pixels_is_refused(tmp_path: Path, name: str) -> None:
    """Just under Pillow's own limit, where decoding takes 3 to 4 GB."""
    path = tmp_path / "claim"
    path.write_bytes(claiming(13000, 13000)[name])
    with pytest.raises(IdferError, match="has 169 million pixels, more than the 64 million that"):
        read_image(path)


def test_the_limit_is_checked_before_decoding(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(saved(tmp_path / "a.png", picture).read_bytes()[:-40])
    with pytest.raises(IdferError, match="million pixels"):
        read_image(path, max_pixels=picture[..., 0].size - 1)
    with pytest.raises(IdferError, match="damaged"):
        read_image(path, max_pixels=picture[..., 0].size)


def test_the_limit_is_an_option(tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", picture)
    monkeypatch.setenv("IDFER_MAX_MEGAPIXELS", "0.002")
    with pytest.raises(IdferError, match="IDFER_MAX_MEGAPIXELS"):
        read_image(path)
    monkeypatch.setenv("IDFER_MAX_MEGAPIXELS", "0.003")
    assert read_image(path).shape == picture.shape
    for wrong in ("many", "-3", "nan"):
        monkeypatch.setenv("IDFER_MAX_MEGAPIXELS", wrong)
        with pytest.raises(UsageError, match="IDFER_MAX_MEGAPIXELS is"):
            read_image(path)


@needs_proc
def test_a_large_image_is_held_twice_and_no_more(tmp_path: Path) -> None:
    """As Pillow's pixels (4 bytes) and as the array; Pillow made up to five whole copies on the way."""
    Image.new("LA", (4000, 5000), (200, 100)).save(tmp_path / "large.png", compress_level=1)
    said, memory = peak(tmp_path / "large.png")
    assert said == "(32, 32, 3)"
    assert memory < 20 * (4 + 3) + 120


@needs_proc
def test_a_line_of_pixels_is_not_squared(tmp_path: Path) -> None:
    """604 bytes of PNG made a square of 3.6 billion pixels."""
    Image.new("RGB", (1, 60000)).save(tmp_path / "line.png")
    said, memory = peak(tmp_path / "line.png")
    assert "an image of 1 x 60000 pixels, made a square of 60000 x 60000, has 3600 million pixels" in said
    assert memory < 100


def test_pixels_do_not_depend_on_the_strips_they_are_converted_in(
    tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    palette = Image.fromarray(picture).convert("P")
    palette.save(tmp_path / "p.png", transparency=bytes(range(256)))
    Image.fromarray(picture[..., 0].astype(np.uint16) << 8).save(tmp_path / "i.png")
    Image.fromarray(picture[..., 0] / np.float32(255)).save(tmp_path / "f.tif")
    for mode in ("RGB", "RGBA", "LA", "1", "CMYK"):
        saved(tmp_path / f"{mode}.tif", picture, mode)
    files = sorted(tmp_path.iterdir())
    whole = [read_image(path) for path in files]
    monkeypatch.setattr("idfer.data.images._STRIP", 3 * picture.shape[1])
    for path, expected in zip(files, whole, strict=True):
        assert np.array_equal(read_image(path), expected), path.name


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_beyond_the_limit_is_reduced_where_the_caller_can_scale_boxes(
    tmp_path: Path, orientation: int
) -> None:
    image = np.zeros((301, 402, 3), np.uint8)
    image[100:140, 200:280] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", image, quality=95, exif=exif)
    with pytest.raises(IdferError, match="million pixels"):
        read_image(path, max_pixels=40_000)
    whole, once = read_reduced(path)
    small, factor = read_reduced(path, max_pixels=40_000)
    assert (once, factor) == (1, 2)
    assert small.shape[:2] == tuple(math.ceil(side / 2) for side in whole.shape[:2])
    white, small_white = (np.argwhere(pixels[..., 0] > 127) for pixels in (whole, small))
    assert np.abs(small_white.min(axis=0) * factor - white.min(axis=0)).max() <= 1
    assert read_reduced(path, max_pixels=2_500)[1] == 8
    with pytest.raises(IdferError, match="million pixels"):
        read_reduced(path, max_pixels=1_000)
    with pytest.raises(IdferError, match="million pixels"):
        read_reduced(saved(tmp_path / "a.png", image), max_pixels=40_000)


@pytest.mark.parametrize("codestream", [True, False])
def test_jpeg_2000_is_measured_by_what_its_decoder_reads(
    tmp_path: Path, picture: np.ndarray, codestream: bool
) -> None:
    """Its codestream states sizes of its own, and a grid of tiles that may be endless."""
    picture = np.tile(picture, (3, 3, 1))
    whole = saved(tmp_path / "a.jp2", picture, no_jp2=codestream).read_bytes()
    assert read_image(tmp_path / "a.jp2").shape == picture.shape
    at = whole.index(b"\xff\x4f\xff\x51") + 8
    claims = {"has 48 million pixels": (at, struct.pack(">II", 8000, 6000)),
              "tiles": (at + 16, struct.pack(">II", 1, 1)), "damaged": (at + 16, bytes(8))}  # fmt: skip
    for message, (place, value) in claims.items():
        (tmp_path / "b.jp2").write_bytes(whole[:place] + value + whole[place + len(value) :])
        with pytest.raises(IdferError, match=message):
            read_image(tmp_path / "b.jp2")


def test_tiles_of_a_tiff_count(tmp_path: Path) -> None:
    """One tile of 60000 x 60000 pixels behind an image of 10 x 10."""
    values = {256: 10, 257: 10, 258: 8, 259: 5, 262: 1, 277: 1, 322: 60000, 323: 60000, 324: 8, 325: 10}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    (tmp_path / "a.tif").write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(values)) + entries + bytes(4))
    with pytest.raises(IdferError, match="tiles of 3600 million pixels"):
        read_image(tmp_path / "a.tif")


def test_formats_that_pillow_decodes_in_python_have_less(tmp_path: Path) -> None:
    """64 million such pixels would take a minute and a half."""
    (tmp_path / "a.ppm").write_bytes(b"P6 2000 2500 254\n")
    with pytest.raises(IdferError, match="slow to decode and has 5 million pixels"):
        read_image(tmp_path / "a.ppm")


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


@pytest.mark.parametrize("box", [(1, 2, 3), "box", None, 5, ("a", 0, 1, 1), (1, 2, 3, 10**400), {"x": 1}])
def test_boxes_that_are_not_four_numbers_are_refused(box: object) -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    if box is None:
        assert Preprocess(8).crop(image, box).shape == (8, 8, 3)
        return
    with pytest.raises(IdferError, match="box"):
        Preprocess(8).crop(image, box)


def test_a_box_far_larger_than_the_image_is_not_padded() -> None:
    """Four times the image's side with a margin of 4 is 1.3 billion pixels."""
    with pytest.raises(IdferError, match="the box of 4000 x 4000 pixels, made a square of 36000 x 36000"):
        Preprocess(8, margin=4.0).crop(np.zeros((1000, 1000, 3), np.uint8), (0, 0, 4000, 4000))


def test_normalise_inverts_to_the_pixels() -> None:
    contract = Preprocess(4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    pixels = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    scaled = contract.normalise(pixels)
    assert scaled.dtype == torch.float32
    mean, std = torch.tensor(contract.mean), torch.tensor(contract.std)
    back = (scaled * std[:, None, None] + mean[:, None, None]) * 255
    assert torch.allclose(back, pixels.float(), atol=1e-3)


def test_contract_survives_writing_and_reading() -> None:
    contract = Preprocess(96, margin=0.2, mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0), detector="haar")
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
        ("gamma", 2.2), ("alignment", "eyes"), ("colour_order", "BGR"), ("resize", "bicubic"),
        ("size", 0), ("size", 64.5), ("size", True), ("margin", -0.1), ("margin", float("nan")),
        ("mean", [0.5, 0.5]),
        ("mean", "RGB"), ("std", [1.0, 0.0, 1.0]), ("output_range", [1.0, -1.0]),
        ("detector", "mtcnn"), ("detector", ""), ("detector", ["haar"]), ("margin", 10**400),
    ],
)  # fmt: skip
def test_contract_this_version_cannot_honour_is_refused(key: str, value: object) -> None:
    with pytest.raises(IdferError, match=key):
        Preprocess.from_dict(Preprocess(8).to_dict() | {key: value})


@pytest.mark.parametrize("values", [5, [1], "text", None])
def test_a_contract_that_is_no_mapping_is_refused(values: object) -> None:
    with pytest.raises(IdferError, match="no mapping"):
        Preprocess.from_dict(values)  # type: ignore[arg-type]
