"""What can be predicted on: files, folders, links, kinds of images."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from idfer.errors import IdferError, UsageError
from idfer.inference.inputs import list_images
from idfer.inference.predictor import Predictor, predict
from photographs import VA, save

pytestmark = pytest.mark.usefixtures("one_thread")


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


@pytest.mark.timeout(60)
def test_nothing_that_looks_like_an_image_is_dropped(model: Predictor, photos: Path) -> None:
    (photos / "e broken.png").symlink_to(photos / "gone.png")
    (photos / "f loop.png").symlink_to(photos / "f loop.png")
    os.mkfifo(photos / "g pipe.png")
    (photos / "h linked.png").symlink_to(photos / "a one.png")
    (photos / "disk").symlink_to(tmp := photos / "not mounted")
    (photos / "gone.txt").symlink_to(tmp)
    frame = model(photos, detector="none").frame()
    bad = frame[frame["error"] != ""]
    assert [Path(p).name for p in bad["input"]] == ["disk", "e broken.png", "f loop.png", "g pipe.png"]
    assert "leads nowhere" in bad["error"].iloc[0]
    assert "link" in bad["error"].iloc[1]
    assert "pipe" in bad["error"].iloc[3]
    good = [Path(p).name for p in frame[frame["error"] == ""]["input"]]
    assert good == ["a one.png", "b six.png", "c none.PNG", "d.png", "h linked.png"]


@pytest.mark.timeout(60)
def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "real" / "deep", outside / "inner"):
        folder.mkdir(parents=True)
        (folder / "x.png").touch()
    (root / "a link to real").symlink_to(root / "real")
    (root / "real" / "deep" / "back").symlink_to(root)
    (root / "out").symlink_to(outside)
    (root / "out again").symlink_to(outside / "inner")
    (outside / "inner" / "round").symlink_to(outside)
    found = [str(source.path.relative_to(root)) for source in list_images([root]).sources]
    assert found == ["out/inner/x.png", "real/deep/x.png"]
    assert len(list_images([root, root]).sources) == 4, "what is named twice is predicted twice"


def test_a_folder_that_cannot_be_searched_is_a_row(
    model: Predictor, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def locked(path: Path) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("os.scandir", locked)  # tests may run as root, who may do all
    frame = model(photos, detector="none").frame()
    assert [Path(p).name for p in frame["input"]] == ["a one.png", "b six.png", "c none.PNG", "deep"]
    assert "cannot be searched (Permission denied)" in frame["error"].iloc[-1]


def test_videos_in_a_folder_are_counted_aloud(
    untrained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("z.MP4", "deep/a.mov", "deep/.hidden/b.mov"):
        (photos / name).touch()
    predict([str(photos)], str(untrained), detector="none", out=str(tmp_path / "out.csv"), progress=False)
    told = [line for line in capsys.readouterr().err.splitlines() if "video" in line]
    assert len(told) == 1
    assert told[0].startswith(f"idfer: 2 video(s) in folders are left out, the first {photos / 'deep/a.mov'}")
    with pytest.raises(IdferError, match=r"only: holds no image .*; its 1 videos"):
        (tmp_path / "only").mkdir()
        (tmp_path / "only" / "a.mp4").touch()
        list_images([tmp_path / "only"])


def test_photographs_of_a_kind_that_cannot_be_read_are_counted_aloud_in_a_folder(
    untrained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("z.HEIC", "deep/a.avif", "deep/.hidden/b.heic"):
        (photos / name).touch()
    out = tmp_path / "out.csv"
    predict([str(photos)], str(untrained), detector="none", out=str(out), progress=False)
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert told.startswith("idfer: 2 HEIC, AVIF or JPEG XL file(s) in folders are left out, the first ")
    assert str(photos / "deep" / "a.avif") in told and "convert them" in told
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.heif").touch()
    with pytest.raises(IdferError, match="its 1 HEIC, AVIF or JPEG XL photographs must be converted"):
        list_images([tmp_path / "only"])


def test_an_empty_name_does_not_stand_for_the_working_folder(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    with pytest.raises(UsageError, match="empty name"):
        list_images(["a one.png", ""])
    assert len(list_images(["."]).sources) == 4


@pytest.mark.parametrize("name", ["n" * 300 + ".png", "n/" * 3000 + "a.png", "nul\0.png"])
def test_a_name_that_the_system_refuses_is_a_row(model: Predictor, photos: Path, name: str) -> None:
    frame = model([str(photos / name), str(photos / "a one.png")], detector="none").frame()
    assert (frame["error"] != "").tolist() == [True, False]
    assert len(frame["error"].iloc[0]) < 600


def test_a_jpeg_beyond_the_limit_is_read_reduced_and_its_boxes_are_the_files(
    model: Predictor, tmp_path: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = cv2.resize(astronaut[:150, :200], (800, 600), interpolation=cv2.INTER_CUBIC)
    path = save(tmp_path / "large.jpg", large, quality=95)
    whole = model(path, detector="haar").frame().iloc[0]
    monkeypatch.setenv("IDFER_MAX_MEGAPIXELS", "0.2")
    reduced = model(path, detector="haar").frame().iloc[0]
    place = ["x", "y", "width", "height"]
    assert reduced["error"] == ""
    assert np.abs(reduced[place].to_numpy(float) - whole[place].to_numpy(float)).max() <= 20
