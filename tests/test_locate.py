"""One road for faces: given boxes are kept, whole images stay whole, all others are found as by predict."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage.data
from PIL import Image

from idfer.data import locate as module
from idfer.data import pictures
from idfer.data.haar import Haar
from idfer.data.images import read_image
from idfer.data.landmarks import landmarks_of
from idfer.data.loader import FaceDataset
from idfer.data.locate import locate
from idfer.data.manifest import Manifest
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, UsageError
from idfer.synthetic.dataset import synth


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two faces at different places, and a photograph without one."""
    astronaut = skimage.data.astronaut()
    pictures = {"a.png": astronaut, "b.png": astronaut[20:300, 100:400], "none.png": skimage.data.coffee()}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / name)
    return tmp_path


def faces(root: Path, *paths: str, **columns: object) -> Manifest:
    return Manifest.from_frame(
        pd.DataFrame({"path": list(paths), "valence": 0.0, "arousal": 0.0} | columns), root
    )


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the images that a Haar detector was shown."""
    shapes: list[tuple[int, ...]] = []
    real = Haar.__call__

    def counted(self: Haar, image: np.ndarray) -> list[module.Place]:
        shapes.append(image.shape)
        return real(self, image)

    monkeypatch.setattr(Haar, "__call__", counted)
    return shapes


@pytest.fixture
def no_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"loaded {name}")

    monkeypatch.setattr(module, "load_detector", refuse)


# -- which rows are searched --------------------------------------------------------------------------------


def test_faces_are_placed_as_prediction_places_them(photos: Path) -> None:
    """A model trained on whole photographs and predicting on crops scored CCC .02 for .88, without a word."""
    located = locate(faces(photos, "a.png", "b.png"), "haar", progress=False)
    assert (located.detector, located.errors, located.hint) == ("haar", {}, "")
    assert located.manifest.frame["detector"].tolist() == ["haar", "haar"]
    contract = Preprocess(48, margin=0.2, detector=located.detector)
    for row, file in enumerate(located.manifest.files):
        image = read_image(file)
        box = Haar()(image)[0].box
        assert located.manifest.box(row) == box
        crop = FaceDataset(located.manifest, contract).read(row)
        assert np.array_equal(crop.permute(1, 2, 0), contract.crop(image, box))


@pytest.mark.usefixtures("no_detector")
def test_given_boxes_are_kept_and_nothing_is_read(tmp_path: Path) -> None:
    manifest = faces(tmp_path, "gone.png", "gone too.png", box=[[1, 2, 30, 40], [5, 6, 70, 80]])
    for detector in ("auto", "haar", "none"):
        located = locate(manifest, detector, progress=False)
        assert (located.detector, located.errors) == ("box", {})
        np.testing.assert_array_equal(located.manifest.boxes, manifest.boxes)


@pytest.mark.usefixtures("no_detector")
@pytest.mark.parametrize(
    ("detectors", "name"),
    [
        (["haar", "haar"], "haar"),
        (["yunet", "haar"], "box"),
        (["yunet", ""], "box"),
        (["mtcnn", "mtcnn"], "box"),
    ],
)
def test_boxes_of_a_detector_that_is_named_are_its_own(
    detectors: list[str], name: str, tmp_path: Path
) -> None:
    manifest = faces(tmp_path, "a.png", "b.png", x=1, y=2, width=30, height=40, detector=detectors)
    assert locate(manifest, progress=False).detector == name


@pytest.mark.usefixtures("no_detector")
def test_drawn_faces_are_whole_and_need_no_detector(tmp_path: Path) -> None:
    made = synth(tmp_path / "faces", identities=2, per_identity=2, size=32, progress=False)
    located = locate(made, progress=False)
    assert (located.detector, located.errors) == ("none", {})
    assert np.isnan(located.manifest.boxes).all()


@pytest.mark.usefixtures("no_detector")
def test_detector_none_takes_every_row_without_a_box_whole(photos: Path) -> None:
    manifest = faces(photos, "a.png", "none.png")
    located = locate(manifest, "none", progress=False)
    assert located.detector == "none"
    assert located.manifest.whole.all()
    mixed = locate(faces(photos, "a.png", "b.png", box=[None, [1, 2, 30, 40]]), "none", progress=False)
    assert mixed.detector == "box"
    assert mixed.manifest.whole.tolist() == [True, False]
    assert not manifest.whole.any(), "the manifest that was given is as it was"


def test_only_what_nobody_placed_is_searched(photos: Path, searched: list[tuple[int, ...]]) -> None:
    manifest = faces(
        photos, "a.png", "b.png", "none.png", box=[None, [9, 8, 30, 40], None], detector=["", "", "none"]
    )
    located = locate(manifest, "haar", progress=False)
    assert (located.detector, located.errors, located.searched) == ("haar", {}, 1)
    assert searched == [(512, 512, 3)]
    assert located.manifest.box(1) == (9, 8, 30, 40)
    assert located.manifest.box(2) is None
    assert located.manifest.frame["detector"].tolist() == ["haar", "", "none"]


@pytest.mark.usefixtures("no_detector")
def test_an_unknown_detector_is_refused_though_none_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'har'.*Did you mean 'haar'"):
        locate(faces(tmp_path, "a.png", box=[[1, 2, 3, 4]]), "har", progress=False)


# -- rows that cannot be used -------------------------------------------------------------------------------


@pytest.mark.timeout(60)
def test_each_image_that_cannot_be_used_is_a_row(photos: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    (photos / "device.png").symlink_to("/dev/zero")
    (photos / "text.png").write_text("not an image")
    (photos / "empty.png").write_bytes(b"")
    Image.new("L", (9000, 9000)).save(photos / "vast.png")
    bad = {"none.png": "no face found", "pipe.png": "pipe", "device.png": "device", "text.png": "not an im",
           "gone.png": "no such file", "empty.png": "0 bytes", "vast.png": "million pixels",
           "x" * 5000: "too long", "nul\0.png": "null"}  # fmt: skip
    located = locate(faces(photos, *bad, "a.png"), "haar", progress=False)
    for row, (path, message) in enumerate(bad.items()):
        assert message in located.errors[row]
        assert path[:100].replace("\0", "\\x00") in located.errors[row]
        assert located.manifest.box(row) is None
    assert located.errors.keys() == set(range(len(bad)))
    assert located.manifest.box(len(bad)) is not None
    assert (located.searched, located.faceless) == (len(bad) + 1, 1)


def test_crops_without_a_face_give_a_hint(photos: Path) -> None:
    most = locate(faces(photos, "none.png", "none.png", "a.png"), "haar", progress=False)
    assert most.hint.startswith("no face was found in 2 of 3 images")
    assert "--detector none" in most.hint
    assert locate(faces(photos, "none.png", "a.png"), "haar", progress=False).hint == ""


def test_a_selection_keeps_the_errors_of_its_rows(photos: Path) -> None:
    located = locate(faces(photos, "a.png", "gone.png", "none.png", "b.png"), "haar", progress=False)
    chosen = located.rows(np.array([3, 2, 0]))
    assert list(chosen.errors) == [1]
    assert "none.png: no face found" in chosen.errors[1]
    assert chosen.manifest.box(0) == located.manifest.box(3)
    assert list(located.rows(np.array([False, True, False, True])).errors) == [0]


def test_boxes_of_a_reduced_jpeg_are_in_pixels_of_the_file(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(skimage.data.astronaut()).save(photos / "a.jpg", quality=95)
    whole = locate(faces(photos, "a.jpg"), "haar", progress=False).manifest.boxes
    monkeypatch.setenv("IDFER_MAX_MEGAPIXELS", "0.1")
    monkeypatch.setenv("IDFER_CACHE", str(photos / "another cache"))
    located = locate(faces(photos, "a.jpg"), "haar", progress=False)
    assert np.abs(located.manifest.boxes - whole).max() < 16
    place = located.manifest.box(0)
    full = Preprocess(32).crop(read_image(photos / "a.jpg", max_pixels=10**6), place)
    crop = FaceDataset(located.manifest, Preprocess(32)).read(0).permute(1, 2, 0).numpy()
    assert np.abs(crop.astype(float) - full).mean() < 8


# -- the cache ----------------------------------------------------------------------------------------------


def test_an_image_is_searched_once(photos: Path, searched: list[tuple[int, ...]]) -> None:
    manifest = faces(photos, "a.png", "none.png", "a.png")
    first = locate(manifest, "haar", progress=False)
    assert len(searched) == 2
    (photos / "a.png").rename(photos / "moved.png")
    again = locate(faces(photos, "moved.png", "none.png"), "haar", progress=False)
    assert len(searched) == 2
    np.testing.assert_array_equal(again.manifest.boxes, first.manifest.boxes[:2])
    assert again.errors == {1: first.errors[1]}


def test_another_detector_or_content_is_searched_again(
    photos: Path, searched: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    locate(faces(photos, "a.png"), "haar", progress=False)
    (photos / "a.png").write_bytes((photos / "b.png").read_bytes())
    changed = locate(faces(photos, "a.png"), "haar", progress=False)
    assert [shape[:2] for shape in searched] == [(512, 512), (280, 300)]
    assert changed.manifest.box(0) == Haar()(read_image(photos / "b.png"))[0].box
    searched.clear()
    monkeypatch.setattr(Haar, "fingerprint", "another")
    locate(faces(photos, "a.png"), "haar", progress=False)
    assert len(searched) == 1


def test_a_stopped_search_goes_on_where_it_was(
    photos: Path, searched: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STRETCH", 1)
    manifest = faces(photos, "a.png", "b.png", "none.png")
    real, limit = pictures.read_reduced, 2

    def interrupted(file: Path) -> tuple[np.ndarray, int]:
        if len(searched) == limit:
            raise KeyboardInterrupt
        return real(file)

    monkeypatch.setattr(pictures, "read_reduced", interrupted)
    with pytest.raises(KeyboardInterrupt):
        locate(manifest, "haar", progress=False)
    limit = 99
    located = locate(manifest, "haar", progress=False)
    assert len(searched) == 3
    assert list(located.errors) == [2]


@pytest.mark.parametrize("content", [None, b"no database" * 500])
def test_a_broken_cache_names_its_file(photos: Path, content: bytes | None) -> None:
    path = Path(os.environ["IDFER_CACHE"]) / "faces.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(IdferError, match=r"faces\.sqlite: the face cache cannot be used"):
        locate(faces(photos, "a.png"), "haar", progress=False)


# -- landmarks of faces that have a box ---------------------------------------------------------------------


def test_landmarks_are_those_of_the_face_in_the_box(photos: Path, searched: list[tuple[int, ...]]) -> None:
    face = Haar()(read_image(photos / "a.png"))[0]
    searched.clear()
    x, y, width, height = face.box
    boxes = [[x + 6, y + 4, width, height], [0, 300, width, height], [x, y, width, height], None]
    own = [None, None, [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]], None]
    manifest = faces(photos, *["a.png"] * 3, "b.png", box=boxes, landmarks=own)
    for _ in range(2):  # found, then from the cache
        located = locate(manifest, "haar", alignment="landmarks", progress=False)
        places = landmarks_of(located.manifest.frame)
        np.testing.assert_allclose(places[0], face.landmarks, atol=0.01)
        assert np.isnan(places[1]).all()
        assert places[2].ravel().tolist() == list(range(1, 11))
        assert not np.isnan(places[3]).any()
        np.testing.assert_array_equal(located.manifest.boxes[:3], manifest.boxes[:3])
        assert list(located.errors) == [1]
        assert re.search(
            r"a\.png: no face that haar finds overlaps the box of this row \(0, 300, \d+, \d+\)",
            located.errors[1],
        )
        assert (located.detector, located.hint) == ("haar", "")
        assert located.manifest.frame["detector"].tolist() == ["", "", "", "haar"]
        assert len(searched) == 2
    locate(faces(photos, "b.png", box=[[1, 2, 30, 40]]), "haar", progress=False)
    assert len(searched) == 2, "faces that are not aligned need none"


@pytest.mark.usefixtures("no_detector")
def test_faces_without_landmarks_that_no_detector_may_search(photos: Path) -> None:
    given = faces(photos, "a.png", "b.png", box=[[1, 2, 30, 40], None])
    none = locate(given, "none", alignment="landmarks", progress=False)
    assert [none.errors[row].split(": ")[1] for row in (0, 1)] == [
        "has no landmarks to align it by, and --detector none finds none; give another --detector, or give a "
        "column `landmarks`"
    ] * 2
    whole = locate(faces(photos, "a.png", detector="none"), alignment="landmarks", progress=False)
    assert "its `detector` none says that the whole image is the face; empty that" in whole.errors[0]
