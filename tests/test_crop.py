"""`idfer crop`: the crops are what training would see, made once, and nothing is dropped unsaid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import idfer
from idfer import Manifest
from idfer.cli import main
from idfer.data.images import read_image
from idfer.data.loader import FaceDataset
from idfer.data.pictures import Read
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, UsageError
from photographs import save

BOXES = [(75, 25, 45, 56), (60, 20, 80, 80), (70, 10, 60, 60)]
MARKS = [[88, 42], [107, 42], [99, 53], [91, 63], [106, 63]]


@pytest.fixture
def faces(astronaut: np.ndarray, tmp_path: Path) -> Manifest:
    rows = []
    for number, box in enumerate(BOXES):
        save(tmp_path / f"{number}.png", np.roll(astronaut, number, axis=2))
        rows.append(
            {
                "path": f"{number}.png", "valence": 0.5 * number - 0.5, "arousal": 0.0,
                "subject": f"p{number}", "split": "train", "note": f"n{number}", "landmarks": str(MARKS),
                **dict(zip(("x", "y", "width", "height"), box, strict=True)),
            }
        )  # fmt: skip
    manifest = Manifest.from_frame(pd.DataFrame(rows), tmp_path)
    manifest.write(tmp_path / "manifest.parquet")
    return manifest


@pytest.mark.parametrize("alignment", ["none", "landmarks"])
def test_png_crops_are_the_pixels_of_training(faces: Manifest, tmp_path: Path, alignment: str) -> None:
    made = idfer.crop(faces, tmp_path / "out", size=48, margin=0.2, alignment=alignment, progress=False)
    wanted = FaceDataset(faces, Preprocess(48, 0.2, alignment))
    seen = FaceDataset(Manifest.read(tmp_path / "out"), Preprocess(48, 0.3))
    assert len(seen) == len(made) == 3
    for row in range(3):
        assert np.array_equal(seen.read(row), wanted.read(row))
    frame = made.frame
    assert frame["original"].tolist() == ["0.png", "1.png", "2.png"]
    assert frame["note"].tolist() == ["n0", "n1", "n2"]
    assert frame["valence"].tolist() == [-0.5, 0.0, 0.5]
    assert (frame["detector"] == "none").all()
    assert not {"x", "y", "width", "height", "landmarks"} & set(frame.columns)
    assert not list((tmp_path / "out").rglob(".*"))


@pytest.mark.parametrize(("kind", "most"), [("webp", 8.0), ("jpeg", 8.0)])
def test_smaller_formats_are_near(faces: Manifest, tmp_path: Path, kind: str, most: float) -> None:
    made = idfer.crop(faces, tmp_path / "out", size=64, format=kind, progress=False)
    wanted = FaceDataset(faces, Preprocess(64, 0.1))
    for row, file in enumerate(made.files):
        assert file.suffix == f".{kind}"
        exact = wanted.read(row).permute(1, 2, 0).numpy().astype(float)
        assert np.abs(read_image(file) - exact).mean() < most


def test_a_stopped_run_goes_on_where_it_was(
    faces: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, cut, made = tmp_path / "out", FaceDataset.cut, []

    def stopping(self: FaceDataset, row: int, read: Read) -> object:
        if row == 2:
            raise KeyboardInterrupt
        made.append(row)
        return cut(self, row, read)

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(FaceDataset, "cut", stopping)
        idfer.crop(faces, out, size=32, progress=False)
    assert not (out / "manifest.parquet").exists()
    assert sorted(made) == [0, 1]
    rest = []
    monkeypatch.setattr(FaceDataset, "cut", lambda self, row, read: rest.append(row) or cut(self, row, read))
    whole = idfer.crop(faces, out, size=32, progress=False)
    assert rest == [2]
    empty = whole.files[0]
    empty.write_bytes(b"")  # what a crash of the machine may leave
    idfer.crop(faces, out, size=32, progress=False)
    assert rest == [2, 0]
    save(tmp_path / "1.png", np.zeros((256, 256, 3), np.uint8))
    changed = idfer.crop(faces, out, size=32, progress=False)
    assert rest == [2, 0, 1]
    assert not read_image(changed.files[1]).any()
    idfer.crop(faces, out, size=33, progress=False)
    assert rest[3:] in ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])


def test_rows_without_a_crop_are_listed(
    faces: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.png").write_text("a letter")
    arguments = ["crop", str(tmp_path), "-o", str(tmp_path / "out"), "--size", "32", "--progress", "false"]
    assert main(arguments) == 0
    told = capsys.readouterr().err
    assert "1 of 3 rows have no crop (first:" in told
    listed = pd.read_csv(tmp_path / "out" / "left_out.csv")
    assert listed["row"].tolist() == [1]
    assert listed["path"].tolist() == ["1.png"]
    assert "is not an image" in listed["reason"][0]
    assert Manifest.read(tmp_path / "out").frame["original"].tolist() == ["0.png", "2.png"]
    for name in ("0.png", "2.png"):
        (tmp_path / name).unlink()
    with pytest.raises(IdferError, match=r"no face can be cut out; the first: .*0\.png"):
        idfer.crop(faces, tmp_path / "none", progress=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"format": "gif"}, "unknown format 'gif'"), ({"alignment": "eyes"}, "unknown alignment 'eyes'"),
        ({"quality": 0}, "--quality is 0"), ({"size": 0}, "size is 0"), ({"margin": 9}, "margin is 9"),
        ({"detector": "mtcnn"}, "unknown detector"), ({"out": None}, "give one with -o"),
        ({"out": "."}, "holds the manifest itself"),
    ],
)  # fmt: skip
def test_wrong_requests(
    faces: Manifest, tmp_path: Path, given: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        idfer.crop(faces, **{"out": tmp_path / "out", "progress": False, **given})
