"""The manifest refuses what would silently spoil a result, and says which row."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from idfer.data.landmarks import landmarks_of
from idfer.data.manifest import Manifest
from idfer.errors import IdferError, UsageError
from idfer.inference.output import table as predictions


def table(**columns: object) -> pd.DataFrame:
    base = {"path": ["a.png", "b.png", "c.png"], "valence": [0.1, -0.2, 1.0], "arousal": [0.0, 0.5, -1.0]}
    return pd.DataFrame(base | columns)


def test_round_trip_through_parquet_and_csv(tmp_path: Path) -> None:
    manifest = Manifest.from_frame(table(split=["train", "train", "test"], subject=["x", "x", "y"]), tmp_path)
    manifest.write(tmp_path / "manifest.parquet")
    manifest.frame.to_csv(tmp_path / "manifest.csv", index=False)
    for name in ("manifest.parquet", "manifest.csv", ""):
        found = Manifest.read(tmp_path / name)
        pd.testing.assert_frame_equal(found.frame[["path", "split"]], manifest.frame[["path", "split"]])
        np.testing.assert_allclose(found.targets, manifest.targets)
        assert found.files[0] == tmp_path / "a.png"


def test_splits_and_rows(tmp_path: Path) -> None:
    manifest = Manifest.from_frame(table(split=["train", "val", "test"]), tmp_path)
    assert manifest.splits == ["train", "val", "test"]
    assert list(manifest.select(["val", "test"]).frame["path"]) == ["b.png", "c.png"]
    assert list(manifest.subjects) == ["a.png", "b.png", "c.png"]
    with pytest.raises(UsageError, match=r"unknown split 'tset'\. Did you mean 'test'"):
        manifest.select("tset")
    with pytest.raises(UsageError, match="no row"):
        manifest.rows(np.zeros(3, bool))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"valence": [0.1, np.nan, 0.2]}, r"row 1 \(b\.png\): IDF003 valence is 'nan'"),
        ({"arousal": ["0.1", "high", "0.2"]}, r"row 1 \(b\.png\): IDF003 arousal is 'high'"),
        ({"valence": [0.1, 0.2, -5.0]}, r"row 2 \(c\.png\): IDF002 valence -5 is outside"),
        ({"path": ["a.png", None, "c.png"]}, "row 1: path is empty"),
        ({"split": ["train", "test", "test"], "subject": ["x", "y", "x"]}, "row 2: IDF001 subject 'x'"),
    ],
)
def test_bad_rows_are_named(columns: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(IdferError, match=message):
        Manifest.from_frame(table(**columns), tmp_path)


def test_missing_column_empty_table_missing_and_broken_file(tmp_path: Path) -> None:
    with pytest.raises(IdferError, match="column 'arousal' is missing"):
        Manifest.from_frame(table().drop(columns="arousal"), tmp_path)
    with pytest.raises(IdferError, match="has no rows"):
        Manifest.from_frame(table().iloc[:0], tmp_path)
    with pytest.raises(IdferError, match="no such manifest"):
        Manifest.read(tmp_path / "nowhere.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(IdferError, match="cannot be read as a manifest"):
        Manifest.read(tmp_path / "broken.parquet")


def test_boxes_are_read_per_row(tmp_path: Path) -> None:
    manifest = Manifest.from_frame(table(box=[[1, 2, 3, 4], None, [5, 6, 7, 8]]), tmp_path)
    manifest.write(tmp_path / "manifest.parquet")
    found = Manifest.read(tmp_path)
    assert found.box(0) == (1, 2, 3, 4)
    assert found.box(1) is None
    np.testing.assert_array_equal(found.boxes, [[1, 2, 3, 4], [np.nan] * 4, [5, 6, 7, 8]])


NO_BOX = [None, np.nan, "", pd.NA]
BOXES = [
    [10, 20.5, 30, 40], (10, 20.5, 30, 40), np.array([10, 20.5, 30, 40]), "[10, 20.5, 30, 40]",
    "(10, 20.5, 30, 40)", "[10.  20.5 30.  40. ]", " 10;20.5;30;40 ",
]  # fmt: skip


@pytest.mark.parametrize("empty", NO_BOX)
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_a_box_in_any_notation(box: object, empty: object, tmp_path: Path) -> None:
    column = pd.Series([empty, box, empty], dtype=object)
    manifest = Manifest.from_frame(table().assign(box=column), tmp_path)
    assert [manifest.box(row) for row in range(3)] == [None, (10, 20.5, 30, 40), None]


def test_a_box_written_as_text_in_a_csv(tmp_path: Path) -> None:
    """`box="[...]"` was a traceback when the first image was read."""
    table(box=["[1, 2, 3, 4]", "", "[5, 6, 7, 8]"]).to_csv(tmp_path / "faces.csv", index=False)
    manifest = Manifest.read(tmp_path / "faces.csv")
    assert [manifest.box(row) for row in range(3)] == [(1, 2, 3, 4), None, (5, 6, 7, 8)]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_columns_that_predict_writes_are_boxes(suffix: str, tmp_path: Path) -> None:
    """They were ignored, and the whole image was taken for the face."""
    places = [["a.png", 10, 20, 30, 40, "yunet"], ["b.png", None, None, None, None, None],
              ["c.png", 0, 0, 64, 48, "none"]]  # fmt: skip
    rows = [dict(zip(("input", "x", "y", "width", "height", "detector"), place, strict=True)) | {"frame": 0}
            for place in places]  # fmt: skip
    written = predictions(rows).rename(columns={"input": "path"}).assign(valence=0.0, arousal=0.0)
    file = tmp_path / f"faces{suffix}"
    written.to_csv(file, index=False) if suffix == ".csv" else written.to_parquet(file)
    manifest = Manifest.read(file)
    assert [manifest.box(row) for row in range(3)] == [(10, 20, 30, 40), None, None]
    assert manifest.whole.tolist() == [False, False, True]
    assert manifest.frame["frame"].tolist() == [-1] * 3
    again = Manifest.read(manifest.write(tmp_path / "again.parquet"))
    np.testing.assert_array_equal(again.boxes, manifest.boxes)


def test_sizes_of_images_are_not_boxes(tmp_path: Path) -> None:
    manifest = Manifest.from_frame(table(width=640, height=480), tmp_path)
    assert manifest.box(0) is None
    assert manifest.frame["width"].tolist() == [640] * 3


def test_a_box_may_be_given_twice_if_it_is_the_same(tmp_path: Path) -> None:
    columns = {"x": [1, None, 1], "y": [2, None, 2], "width": [3, None, 3], "height": [4, None, 4]}
    manifest = Manifest.from_frame(table(box=[[1, 2, 3, 4], [5, 6, 7, 8], None], **columns), tmp_path)
    assert [manifest.box(row) for row in range(3)] == [(1, 2, 3, 4), (5, 6, 7, 8), (1, 2, 3, 4)]
    with pytest.raises(
        IdferError, match=r"row 2 .*IDF004 box is \[1, 2, 3, 5\], but x, y, width, height are"
    ):
        Manifest.from_frame(table(box=[None, None, [1, 2, 3, 5]], **columns), tmp_path)


WRONG_BOXES = [
    "text", "[1, 2, 3]", "[1, 2, 3, 4, 5]", "[1, 2, 3, x]", "[1, 2, 3, nan]", "[]", "{}", 7, 7.5, True,
    [1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, None], [1, 2, 3, "x"], [1, 2, 3, np.nan], [1, 2, np.inf, 4],
    [1, 2, 0, 4], [1, 2, 3, -4], [[1, 2, 3, 4]], {"x": 1}, [1, 2, 3, 10**400],
]  # fmt: skip


@pytest.mark.parametrize("box", WRONG_BOXES, ids=lambda box: str(box)[:20])
def test_a_box_that_is_none_names_its_row_and_value(box: object, tmp_path: Path) -> None:
    column = pd.Series([None, [1, 2, 3, 4], box], dtype=object)
    with pytest.raises(IdferError, match=r"row 2 \(c\.png\): IDF004 .*box is") as caught:
        Manifest.from_frame(table().assign(box=column), tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("x", "left", "x is 'left'"),
        ("y", np.inf, "y is 'inf'"),
        ("width", 0, r"the box is \[1, 2, 0, 4\]"),
        ("height", -4, "width and height must be above 0"),
        ("height", None, "height is empty and others are not"),
        ("x", "", "x is empty"),
    ],
)
def test_a_column_of_a_box_that_is_none(column: str, value: object, message: str, tmp_path: Path) -> None:
    columns = {name: pd.Series([number] * 3, dtype=object) for name, number in zip(
        ("x", "y", "width", "height"), (1, 2, 3, 4), strict=True)}  # fmt: skip
    columns[column][1] = value
    with pytest.raises(IdferError, match=rf"row 1 \(b\.png\): IDF004 .*{message}"):
        Manifest.from_frame(table(**columns), tmp_path)
    del columns["width"]
    with pytest.raises(IdferError, match="IDF004 column 'width' is missing beside x, y, height"):
        Manifest.from_frame(table(**columns), tmp_path)


def test_a_whole_face_has_no_box_within_it(tmp_path: Path) -> None:
    with pytest.raises(IdferError, match=r"row 0 .*detector 'none' says that the whole image is the face"):
        Manifest.from_frame(table(box=[[9, 0, 3, 4]] * 3, detector="none"), tmp_path)


@pytest.mark.parametrize(
    ("frame", "path"),
    [
        (-1.5, "a.png"), (np.nan, "a.png"), (np.inf, "a.png"), ("first", "a.png"), (-2, "a.png"),
        (None, "a.png"), (0.5, "a.png"), (57, "a.png"), (1, "a.gif"), (-1, "a.mp4"), (10**30, "a.mp4"),
    ],
)  # fmt: skip
def test_a_frame_that_is_none_of_its_file_is_refused(frame: object, path: str, tmp_path: Path) -> None:
    columns = {"frame": pd.Series([-1, 0, frame], dtype=object), "path": ["a.png", "b", path]}
    with pytest.raises(IdferError, match=rf"row 2 \({path}\): IDF005 frame is '"):
        Manifest.from_frame(table(**columns), tmp_path)


def test_frames_of_videos_keep_their_numbers(tmp_path: Path) -> None:
    columns = {"frame": pd.Series([0, "57", 3.0], dtype=object), "path": ["a.MP4", "b.webm", "a.MP4"]}
    assert Manifest.from_frame(table(**columns), tmp_path).frames.tolist() == [0, 57, 3]


def test_frame_zero_of_an_image_is_a_still(tmp_path: Path) -> None:
    assert Manifest.from_frame(table(frame=[0, -1, 0.0]), tmp_path).frame["frame"].tolist() == [-1] * 3


def test_asking_each_row_for_its_box_is_linear(tmp_path: Path) -> None:
    """Ten times the rows may not cost a hundred times: a column was unpacked for every row that asked."""

    def seconds(count: int) -> float:
        rows = pd.DataFrame({"path": ["a.png"] * count, "valence": 0.0, "arousal": 0.0, "frame": 0})
        boxes = list(np.tile([1.0, 2.0, 3.0, 4.0], (count, 1)))
        start = time.process_time()
        manifest = Manifest.from_frame(rows.assign(box=boxes), tmp_path)
        assert all(manifest.box(row) == (1, 2, 3, 4) for row in range(count))
        return time.process_time() - start

    assert seconds(100_000) < 30 * max(seconds(10_000), seconds(10_000))


def test_a_manifest_of_an_impossible_name(tmp_path: Path) -> None:
    with pytest.raises(IdferError, match="File name too long"):
        Manifest.read(tmp_path / ("x" * 5000 + ".csv"))


def test_names_of_people_in_a_csv_are_text(tmp_path):
    """`007` and `7` are two people, and an empty cell does not turn the others into numbers with a point."""
    (tmp_path / "a.csv").write_text("path,subject,valence,arousal\n1.png,007,0,0\n2.png,7,0,0\n3.png,,0,0\n")
    faces = Manifest.read(tmp_path / "a.csv")
    assert faces.frame["subject"].tolist() == ["007", "7", ""]
    assert faces.subjects.tolist() == ["007", "7", "3.png"]
    with pytest.raises(IdferError, match="the manifest's name is empty"):
        Manifest.read("")


def test_of_text_only_an_empty_cell_is_missing(tmp_path: Path) -> None:
    """A person called NA was nobody, so the same person in train and test was not seen."""
    head = "path,subject,split,valence,arousal,factor.glasses,factor.age,x,y,width,height\n"
    rows = (
        "a.png,NA,train,0,0,None,NA,nan,NA,,null\nb.png,None,val,0,0,round,35,1,2,3,4\nc.png,,val,0,0,,,,,,\n"
    )
    (tmp_path / "a.csv").write_text(head + rows)
    faces = Manifest.read(tmp_path / "a.csv")
    assert faces.subjects.tolist() == ["NA", "None", "c.png"]
    assert faces.frame["factor.glasses"].tolist()[:2] == ["None", "round"]
    assert faces.frame["factor.glasses"].isna().tolist() == [False, False, True]
    assert faces.frame["factor.age"].dtype == float
    assert [faces.box(row) for row in range(3)] == [None, (1, 2, 3, 4), None]
    (tmp_path / "b.csv").write_text(head + rows.replace(",None,val", ",NA,val"))
    with pytest.raises(IdferError, match="IDF001 subject 'NA'"):
        Manifest.read(tmp_path / "b.csv")


def test_a_column_of_numbers_and_a_late_word_is_text(tmp_path: Path) -> None:
    """It came with a warning, and could not be written."""
    count = 40_000  # more than pandas reads at a time
    notes = [*map(str, range(count - 1)), "unknown"]
    lines = [f"a{i}.png,0,0,{note},{'x' * 12}" for i, note in enumerate(notes)]
    (tmp_path / "a.csv").write_text("\n".join(["path,valence,arousal,note,padding", *lines]))
    faces = Manifest.read(tmp_path / "a.csv")
    assert faces.frame["note"].tolist() == notes
    mixed = Manifest.from_frame(table(note=pd.Series([1, "unknown", None], dtype=object)), tmp_path)
    again = Manifest.read(mixed.write(tmp_path / "mixed.parquet")).frame["note"]
    assert again[:2].tolist() == ["1", "unknown"]
    assert again.isna()[2]
    odd = Manifest.from_frame(table(note=pd.Series([1, {1}, None], dtype=object)), tmp_path)
    with pytest.raises(IdferError, match=r"odd\.parquet: .*cannot be written as Parquet .*'note'|note"):
        odd.write(tmp_path / "odd.parquet")
    assert not (tmp_path / "odd.parquet").exists()


def test_what_is_written_as_csv_comes_back(tmp_path: Path) -> None:
    """The file was Parquet by another name."""
    marks = [[[1.25, 2.0], [3, 4], [5, 6], [7, 8], [9, 10]], None, list(range(10))]
    columns = {
        "subject": ["007", "NA", ""],
        "video": ["1", "2", None],
        "note": "",
        "skin": ['dark, "brown"', "None", None],
    }
    faces = Manifest.from_frame(
        table(**columns, box=[[1, 2, 3.5, 4], None, None], age=[30.5, np.nan, 7], landmarks=marks), tmp_path
    )
    again = Manifest.read(faces.write(tmp_path / "faces.csv"))
    assert (tmp_path / "faces.csv").read_text().startswith("path,valence,arousal,subject,")
    rest = [name for name in faces.frame.columns if name not in ("landmarks", "note")]
    assert again.frame["note"].isna().all()
    pd.testing.assert_frame_equal(again.frame[rest], faces.frame[rest])
    np.testing.assert_array_equal(landmarks_of(again.frame), landmarks_of(faces.frame))
    for column in (["01", "02", "03"], [[1, 2], [3], None]):
        lost = Manifest.from_frame(table(level=pd.Series(column, dtype=object)), tmp_path)
        with pytest.raises(IdferError, match=r"lost\.csv: column 'level' would not come back from a CSV"):
            lost.write(tmp_path / "lost.csv")
        assert not (tmp_path / "lost.csv").exists()
    with pytest.raises(UsageError, match=r"faces\.json: a manifest is written as \.parquet or \.csv"):
        faces.write(tmp_path / "faces.json")


def test_a_manifest_written_elsewhere_finds_its_pictures(tmp_path: Path) -> None:
    faces = Manifest.from_frame(table(path=["set/a.png", "b.png", "/data/c.png"]), tmp_path / "data")
    for folder in ("elsewhere", "data", "."):
        again = Manifest.read(faces.write(tmp_path / folder / "m.parquet"))
        assert [file.resolve() for file in again.files] == [file.resolve() for file in faces.files]
    assert again.frame["path"].tolist() == ["data/set/a.png", "data/b.png", "/data/c.png"]
    kept = Manifest.read(faces.write(tmp_path / "m.parquet", keep_paths=True))
    assert kept.frame["path"].tolist() == faces.frame["path"].tolist()
