"""What can be predicted on: files, folders, links, kinds of images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from idfer.inference.predictor import Predictor

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
