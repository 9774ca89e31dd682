"""Every reader on its set as published, and on the same tree broken in the ways that disks break things."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import films
from idfer import Manifest, cli, manifest
from idfer.catalogue import READERS
from idfer.data import read
from idfer.data.readers.affectnet import NO_FACE
from idfer.data.readers.reading import Reading
from idfer.data.readers.tally import MISSING, NOT_A_NUMBER, OUT_OF_RANGE, OUTSIDE, Options, Tally
from idfer.errors import IdferError, UsageError

import trees

ALL = {
    "affectnet": trees.affectnet_2017, "aff-wild": trees.aff_wild, "aff-wild2": trees.aff_wild2,
    "afew-va": trees.afew_va, "omg": trees.omg, "folder": trees.folder,
}  # fmt: skip


def found(name: str, root: Path, **options: object) -> Reading:
    return manifest(name, root, progress=False, **options)


def labels(reading: Reading) -> dict[str, tuple[float, float]]:
    frame = reading.manifest.frame
    values = frame[["valence", "arousal"]].to_numpy(float).round(4).tolist()
    return dict(zip(frame["path"], map(tuple, values), strict=True))


def column(reading: Reading, name: str) -> list[object]:
    return reading.manifest.frame[name].tolist()


def test_affectnet_2017_has_boxes_no_people_and_no_faceless_rows(tmp_path: Path) -> None:
    reading = found("affectnet", trees.affectnet_2017(tmp_path))
    images = "Manually_Annotated_Images"
    assert labels(reading) == {
        f"{images}/1/a.jpg": (0.5, 0.25), f"{images}/2/d.jpg": (-0.5, 1.0),
        f"{images}/3/e.jpg": (0.0, 0.0), f"{images}/3/f.jpg": (-0.75, 0.5),
    }  # fmt: skip
    assert column(reading, "split") == ["train", "train", "val", "val"]
    assert column(reading, "expression") == [1, 8, 0, 6]
    assert reading.manifest.box(0) == (2, 3, 20, 20)
    assert reading.manifest.box(1) is None  # of no size
    assert set(column(reading, "subject")) == {""}
    assert reading.dropped == {NO_FACE: 2}
    assert all(file.is_file() for file in reading.manifest.files)


def test_affectnet_2021_reads_labels_that_are_text(tmp_path: Path) -> None:
    reading = found("affectnet", trees.affectnet_2021(tmp_path))
    assert labels(reading) == {
        "train_set/images/0.jpg": (0.5, 0.25),
        "train_set/images/5.jpg": (-0.5, 0.75),
        "val_set/images/3.jpg": (0.0, 0.0),
    }
    assert column(reading, "split") == ["train", "train", "val"]
    assert reading.manifest.whole.all()
    assert sum(reading.dropped.values()) == 1


def test_affectnet_2021_half_downloaded(tmp_path: Path) -> None:
    root = trees.affectnet_2021(tmp_path) / "train_set"
    trees.image(root / "images" / "8.jpg")
    (root / "images" / "0.jpg").unlink()
    (root / "annotations" / "5_aro.npy").write_bytes(b"\x93NUMPY\x01")
    np.save(root / "annotations" / "9_val.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.save(root / "annotations" / "9_aro.npy", np.array(0.5))
    trees.image(root / "images" / "9.jpg")
    reading = found("affectnet", tmp_path)
    assert list(labels(reading)) == ["val_set/images/3.jpg"]
    assert reading.dropped[MISSING] == 1
    assert (
        reading.dropped["label file cannot be read"] == 2
    )  # cut off, and a pickle, which could run a program
    assert reading.dropped["image has no valence or no arousal file"] == 1


def test_affectnet_of_both_releases_is_not_guessed_at(tmp_path: Path) -> None:
    trees.affectnet_2021(trees.affectnet_2017(tmp_path))
    with pytest.raises(IdferError, match=r"of 2017 \(training.csv\) and of 2021"):
        found("affectnet", tmp_path)


def test_affectnet_csv_in_every_sorry_state(tmp_path: Path) -> None:
    root = trees.affectnet_2017(tmp_path)
    file = root / "Manually_Annotated_file_lists" / "training.csv"
    lines = [
        trees.AFFECTNET_COLUMNS,
        "1\\a.jpg,2,3,20,20,1;2,1,0.5,0.25",  # Windows' slashes
        "1/b.jpg,2,3,20,20,1;2,1,good,0.25",  # a label in words
        "1/b.jpg,2,3,20,20,1;2,1,5,0.25",  # out of range
        "1/nowhere.jpg,2,3,20,20,1;2,1,0.5,0.25",
        "../../../etc/passwd,2,3,20,20,1;2,1,0.5,0.25",
        "/etc/passwd,2,3,20,20,1;2,1,0.5,0.25",
        "2/c.jpg,2,3,20,20,1;2,1,0.5,0.25,0.3,0.4,0.5",  # too many cells
        "2/d.jpg,2,3,20,20,1;2,1,0.5",  # the download ended here
    ]
    file.write_bytes("\r\n".join(lines).encode())
    reading = found("affectnet", root)
    kept = [path for path in labels(reading) if "/3/" not in path]
    assert kept == ["Manually_Annotated_Images/1/a.jpg"]
    assert reading.dropped[NOT_A_NUMBER] == 1
    assert reading.dropped[OUT_OF_RANGE] == 1
    assert reading.dropped[MISSING] + reading.dropped[OUTSIDE] == 3
    assert reading.dropped["line cannot be read"] == 2


def test_aff_wild_rows_are_frames_of_videos(tmp_path: Path) -> None:
    root = trees.aff_wild(tmp_path)
    (root / "annotations/train/arousal/105.txt").write_bytes(b"0.5\r\nhigh\r\n0.25\r\n0.1\r\n")
    reading = found("aff-wild", root)
    assert list(zip(column(reading, "path"), column(reading, "frame"), strict=True)) == [
        ("videos/train/105.mp4", 0), ("videos/train/105.mp4", 2),
        ("videos/train/106.mp4", 0), ("videos/train/106.mp4", 1),
    ]  # fmt: skip
    assert column(reading, "valence") == pytest.approx([0.1, 0.3, 1, 0])
    assert column(reading, "arousal")[:2] == [0.5, 0.25]
    assert column(reading, "subject") == ["105", "105", "106", "106"]
    assert reading.dropped == {NOT_A_NUMBER: 1, "frame has valence or arousal alone": 1}
    (root / "videos/train/106.mp4").unlink()
    (root / "annotations/train/arousal/106.txt").rename(root / "annotations/train/arousal/107.txt")
    assert found("aff-wild", root).dropped["file has valence or arousal alone"] == 2


@pytest.mark.parametrize(("first", "folder"), [(1, "bboxes/train"), (0, "bboxes/train/train")])
def test_aff_wild_boxes_meet_their_frames(first: int, folder: str, tmp_path: Path) -> None:
    root = trees.aff_wild(tmp_path)
    boxes = root / folder / "105"
    boxes.mkdir(parents=True)
    corners = "version: 1\nn_points: 4\n{\n10.5 20\n10.5 60\n40.5 60\n40.5 20\n}\n"
    (boxes / f"{first}.pts").write_bytes(corners.replace("\n", "\r\n").encode())
    (boxes / f"{first + 1}.pts").write_text("version: 1\nn_points: 4\n{\n10 2")  # the download ended here
    (boxes / f"{first + 2}.pts").write_text(corners.replace("10.5", "nan"))
    reading = found("aff-wild", root)
    assert reading.manifest.box(0) == (10.5, 20, 30, 40)
    assert [reading.manifest.box(row) for row in range(1, 5)] == [None] * 4
    assert reading.dropped == {"box file cannot be read (a detector places that face)": 2}


@pytest.mark.parametrize("challenge", ["VA_Estimation_Challenge", "VA_Set"])
def test_aff_wild2_lines_meet_their_crops(challenge: str, tmp_path: Path) -> None:
    reading = found("aff-wild2", trees.aff_wild2(tmp_path, challenge))
    assert labels(reading) == {
        "cropped_aligned/video1_left/00001.jpg": (0.1, 0.2),
        "cropped_aligned/video1_left/00003.jpg": (0.3, -0.4),
        "cropped_aligned/video1_right/00001.jpg": (-0.1, 0.2),
        "cropped_aligned/9-15-1920x1080/00001.jpg": (1.0, -1.0),
        "cropped_aligned/9-15-1920x1080/00002.jpg": (0.0, 0.0),
    }
    assert column(reading, "subject")[1:3] == ["video1_left", "video1_right"]
    assert column(reading, "video")[1:3] == ["video1", "video1"]
    assert reading.manifest.subject_kinds == ["video"]
    assert column(reading, "split") == ["train"] * 3 + ["val"] * 2
    assert reading.dropped == {"frame has no label (-5)": 1, MISSING: 1}
    assert "3 videos, which stand in for people" in str(reading)


def test_aff_wild2_a_broken_line_does_not_shift_the_frames_after_it(tmp_path: Path) -> None:
    root = trees.aff_wild2(tmp_path)
    file = root / "VA_Estimation_Challenge/Train_Set/video1_left.txt"
    file.write_bytes(b"valence,arousal\r\n\r\n0.1;0.2\r\n0.5,0.25\r\n0.7")
    reading = found("aff-wild2", root)
    assert labels(reading)["cropped_aligned/video1_left/00003.jpg"] == (0.5, 0.25)
    assert reading.dropped == {NOT_A_NUMBER: 3}
    file.write_bytes(b"\xff\xfe\x00 nonsense")
    assert found("aff-wild2", root).dropped == {}  # one line, taken for a header: no row is lost
    file.chmod(0)
    if os.geteuid():  # a superuser reads all
        assert found("aff-wild2", root).dropped == {"annotation file cannot be read": 1}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("affectnet", "Manually_Annotated_file_lists/validation.csv"),
        ("affectnet", "val_set/annotations"),
        ("aff-wild2", "VA_Estimation_Challenge/Validation_Set"),
        ("omg", "omg_TestVideos_WithLabels.csv"),
    ],
)
def test_a_part_that_was_not_downloaded_is_named(name: str, part: str, tmp_path: Path) -> None:
    make = trees.affectnet_2021 if part.startswith("val_set") else ALL[name]
    root = make(tmp_path)
    (root / part).rename(tmp_path / "elsewhere")
    reading = found(name, root)
    assert reading.dropped["part of the set is not there"] == 1
    assert Path(part).name in reading.first["part of the set is not there"]


def test_what_macos_puts_beside_files_is_no_data(tmp_path: Path) -> None:
    root = trees.aff_wild2(tmp_path / "a")
    (root / "VA_Estimation_Challenge/Train_Set/._video1_left.txt").write_bytes(b"Mac OS X\n" * 40)
    assert found("aff-wild2", root).dropped == {"frame has no label (-5)": 1, MISSING: 1}
    root = trees.folder(tmp_path / "b")
    (root / "train/happy/._a.png").write_bytes(b"Mac OS X" * 40)
    assert len(found("folder", root).manifest) == 3


def test_a_pipe_in_place_of_labels_does_not_stop_it(tmp_path: Path) -> None:
    root = trees.aff_wild2(tmp_path)
    file = root / "VA_Estimation_Challenge/Train_Set/video1_left.txt"
    file.unlink()
    os.mkfifo(file)
    assert found("aff-wild2", root).dropped == {"annotation file cannot be read": 1}


def test_aff_wild2_crops_of_a_second_archive(tmp_path: Path) -> None:
    root = trees.aff_wild2(tmp_path)
    (root / "cropped_aligned_new_50_vids").mkdir()
    (root / "cropped_aligned/video1_right").rename(root / "cropped_aligned_new_50_vids/video1_right")
    assert "cropped_aligned_new_50_vids/video1_right/00001.jpg" in labels(found("aff-wild2", root))


@pytest.mark.parametrize("flat", [False, True])
def test_afew_va_knows_its_actors(flat: bool, tmp_path: Path) -> None:
    reading = found("afew-va", trees.afew_va(tmp_path, flat))
    assert column(reading, "valence") == pytest.approx([0.4, 0.3] * 3)
    assert column(reading, "arousal") == [0, -1] * 3
    assert column(reading, "subject") == ["Ann"] * 4 + ["clip 051"] * 2
    assert reading.manifest.subject_kinds == ["actor"]
    assert reading.manifest.box(0) == (20, 10, 40, 50)  # landmarks from 20 to 60, and a forehead
    assert all(file.is_file() for file in reading.manifest.files)


def test_afew_va_json_cut_in_half_costs_one_clip(tmp_path: Path) -> None:
    root = trees.afew_va(tmp_path, flat=True)
    text = (root / "001/001.json").read_text()
    (root / "001/001.json").write_text(text[: len(text) // 2])
    (root / "002/002.json").write_text(text.replace("4.0", '"high"').replace("-10.0", "-11.0"))
    reading = found("afew-va", root)
    assert set(column(reading, "subject")) == {"clip 051"}
    assert reading.dropped == {"clip whose JSON cannot be read": 1, NOT_A_NUMBER: 1, OUT_OF_RANGE: 1}
    assert reading.first["clip whose JSON cannot be read"] == "001/001.json"


def test_omg_frames_get_the_label_of_their_utterance(tmp_path: Path) -> None:
    root = trees.omg(tmp_path)
    reading = found("omg", root)
    assert labels(reading)["Train_Set/vid1/utterance_1/0.jpg"] == (-0.25, 0.0)
    assert labels(reading)["Validation_Set/vid2/utterance_1/1.jpg"] == (0.5, 1.0)
    assert column(reading, "split") == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    for file in (root / "Test_Set/vid3/utterance_7").iterdir():
        file.unlink()
    assert found("omg", root).dropped == {"utterance has no frames, clip or video": 1}


def test_omg_utterances_are_clips_or_times_in_a_video(tmp_path: Path) -> None:
    root = trees.omg(tmp_path)
    for folder in ("Train_Set", "Validation_Set", "Test_Set"):
        shutil.rmtree(root / folder)
    (root / "Train_Set" / "vid1").mkdir(parents=True)
    films.walk(root / "Train_Set" / "vid1" / "utterance_1.mp4", 5)
    (root / "videos").mkdir()
    films.walk(root / "videos" / "vid2.webm", 12, codec="libvpx")
    (root / "videos" / "vid3.mp4").write_bytes(b"gone")
    rows = ["l,0.12,0.2,vid2,utterance_1.mp4,1,0.5,3", "l,0.2,1,vid2,utterance_2.mp4,0,0.25,3",
            "l,,,vid2,utterance_3.mp4,0,0.25,3", "l,0,1,vid9,utterance_1.mp4,0,0.25,3"]  # fmt: skip
    header = "link,start,end,video,utterance,arousal,valence,EmotionMaxVote"
    (root / "omg_ValidationVideos.csv").write_text("\n".join([header, *rows]))
    reading = found("omg", root)
    frame = reading.manifest.frame
    assert list(zip(frame["path"], frame["frame"], frame["valence"], strict=True)) == [
        *(("Train_Set/vid1/utterance_1.mp4", i, -0.25) for i in range(5)),
        *(("videos/vid2.webm", i, 0.5) for i in (3, 4)),
        *(("videos/vid2.webm", i, 0.25) for i in range(5, 12)),
    ]
    assert reading.dropped == {
        "utterance has no start and end in seconds": 1, "utterance has no frames, clip or video": 1,
        "video cannot be read": 1,
    }  # fmt: skip


def test_table_maps_columns_and_stretches_labels(tmp_path: Path) -> None:
    file = trees.table(tmp_path)
    reading = found("table", file, columns="path=file,valence=v,arousal=a,subject=who", range="-10,10")
    assert labels(reading) == {
        "pictures/a.png": (-1.0, 0.0), "pictures/b.png": (0.5, 1.0), "pictures/c.png": (0.0, 0.25)
    }  # fmt: skip
    assert column(reading, "subject") == ["007", "7", "x"]
    again = found("table", file, columns="path=file,valence=v,arousal=a", range="-10,10,0,10")
    assert again.manifest.frame["arousal"].tolist() == [-1.0, 1.0, -0.5]


def test_table_keeps_attributes_as_numbers_and_frames_as_frames(tmp_path: Path) -> None:
    file = trees.table(tmp_path)
    (tmp_path / "pictures" / "clip.mp4").write_bytes(b"video")
    lines = [
        "path,frame,valence,arousal,age,skin",
        "pictures/clip.mp4,7,0,0,35,dark",
        "pictures/a.png,-1,0,0,,",
    ]
    file.write_text("\n".join(lines))
    frame = found("table", file, columns="factor.age=age,factor.skin=skin").manifest.frame
    assert frame["frame"].tolist() == [7, -1]
    assert frame["factor.age"].dtype == float
    assert frame["factor.skin"].iloc[0] == "dark"
    file.write_text(file.read_text().replace(",7,", ",seven,"))
    with pytest.raises(IdferError, match=r"row 0 \(pictures/clip.mp4\): IDF005 frame is 'seven'"):
        found("table", file)


def test_table_knows_people_called_na(tmp_path: Path) -> None:
    file = trees.table(tmp_path)
    file.write_text(
        "path,valence,arousal,subject,age,glasses,left,top,w,h\n"
        "pictures/a.png,0,0,NA,NA,None,NA,nan,,\n"
        "pictures/b.png,0,0,null,30,round,1,2,3,4\n"
        "pictures/c.png,NA,0,,31,,,,,\n"
    )
    names = "factor.age=age,factor.glasses=glasses,x=left,y=top,width=w,height=h"
    reading = found("table", file, columns=names)
    assert column(reading, "subject") == ["NA", "null"]
    assert column(reading, "factor.glasses") == ["None", "round"]
    assert reading.manifest.frame["factor.age"].dtype == float
    assert [reading.manifest.box(row) for row in range(2)] == [None, (1, 2, 3, 4)]
    assert reading.dropped == {NOT_A_NUMBER: 1}


def test_table_takes_parquet_semicolons_and_columns_that_have_their_names(tmp_path: Path) -> None:
    trees.table(tmp_path)
    frame = pd.DataFrame(
        {"path": ["pictures/a.png", "pictures/b.png"], "valence": [0.1, 2], "arousal": [0, 0]}
    )
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False, sep=";", lineterminator="\r\n", encoding="utf-8-sig")
    for name in ("t.parquet", "t.csv"):
        reading = found("table", tmp_path / name)
        assert labels(reading) == {"pictures/a.png": (0.1, 0.0)}
        assert reading.dropped == {OUT_OF_RANGE: 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": "path=fil"}, r"unknown column 'fil'\. Did you mean 'file'"),
        ({"columns": "pth=file"}, r"unknown manifest column 'pth'\. Did you mean 'path'"),
        ({"columns": "path"}, "'path' is no NAME=COLUMN"),
        ({"columns": "path=file"}, r"no column is 'valence'; it has v, a, who, path"),
        ({"range": "10,-10"}, "--range is '10,-10'"),
        ({"columns": "path=file,valence=v,arousal=a", "images": "nowhere"}, "nowhere: no such folder"),
        ({"columns": "path=file,valence=who,arousal=a"}, "no row of table can be used: .*not a number"),
    ],
)
def test_table_says_what_is_wrong(options: dict[str, str], message: str, tmp_path: Path) -> None:
    file = trees.table(tmp_path)
    file.write_text(file.read_text().replace("007", "x").replace("10,7", "10,y"))
    with pytest.raises(IdferError, match=message):
        found("table", file, **options)


def test_folder_of_classes_gets_anchors_and_says_so(tmp_path: Path) -> None:
    reading = found("folder", trees.folder(tmp_path))
    assert labels(reading) == {
        "train/anger/b.jpg": (-0.51, 0.59), "train/happy/a.png": (0.81, 0.51), "val/sad/c.png": (-0.63, -0.27)
    }  # fmt: skip
    assert column(reading, "split") == ["train", "train", "val"]
    assert set(column(reading, "label_source")) == {"class anchor (Russell & Mehrabian 1977)"}
    assert reading.dropped == {"image is in no class folder": 1, "class 'contempt' has no anchor": 1}
    for name in ("train", "val"):
        (tmp_path / name).rename(tmp_path / f"the {name}")
    with pytest.raises(IdferError, match="no image is in a folder named by an emotion"):
        found("folder", tmp_path)


@pytest.mark.parametrize("name", list(ALL))
def test_a_wrong_root_says_what_was_looked_for(name: str, tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("no data set")
    with pytest.raises(IdferError) as refused:
        found(name, tmp_path)
    said = str(refused.value)
    assert str(tmp_path) in said
    assert "\n" not in said
    assert ("looked for" in said and "it holds holiday.txt" in said) or "named by an emotion" in said
    with pytest.raises(IdferError, match="no such file or folder"):
        found(name, tmp_path / "nowhere")
    with pytest.raises(IdferError, match="is a file"):
        found(name, tmp_path / "holiday.txt")


@pytest.mark.parametrize("name", list(ALL))
def test_a_set_without_its_pictures_is_refused_with_the_count(name: str, tmp_path: Path) -> None:
    root = ALL[name](tmp_path)
    for file in [*root.rglob("*.jpg"), *root.rglob("*.png"), *root.rglob("*.mp4")]:
        file.unlink()
    with pytest.raises(IdferError, match=r"no row of .* can be used: .*first: |crops|emotion") as refused:
        found(name, root)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", list(ALL))
def test_links_out_of_the_root_are_left_out_and_counted(name: str, tmp_path: Path) -> None:
    """A link of a file, and one of a folder; with `follow_links` both count."""
    root = ALL[name](tmp_path / "set")
    whole = len(found(name, root).manifest)
    pictures = sorted([*root.rglob("*.jpg"), *root.rglob("*.png"), *root.rglob("*.mp4")])
    kept = {path.as_posix() for path in found(name, root).manifest.files}
    picture = next(path for path in pictures if path.as_posix() in kept)
    picture.rename(tmp_path / picture.name)
    picture.symlink_to(tmp_path / picture.name)
    one = found(name, root)
    assert len(one.manifest) < whole
    assert one.dropped[OUTSIDE] >= 1
    assert len(found(name, root, follow_links=True).manifest) == whole
    picture.unlink()
    (tmp_path / picture.name).rename(picture)
    folder = picture.parent
    folder.rename(tmp_path / "away")
    folder.symlink_to(tmp_path / "away")
    try:
        away = found(name, root)
    except IdferError as refused:  # nothing else was there
        assert OUTSIDE in str(refused)
    else:
        assert len(away.manifest) < whole
        assert away.dropped[OUTSIDE] >= 1


def test_a_written_manifest_finds_its_pictures_from_where_it_is(tmp_path: Path) -> None:
    root = trees.aff_wild2(tmp_path / "data" / "set")
    for out in (root / "m.parquet", tmp_path / "data" / "m.parquet", tmp_path / "elsewhere" / "m.parquet"):
        found("aff-wild2", root, out=out)
        assert all(file.is_file() for file in Manifest.read(out).files)
    paths = Manifest.read(tmp_path / "data" / "m.parquet").frame["path"]
    assert paths.str.startswith("set/").all()  # the folder may move as a whole
    written = read("aff-wild2", root).write(tmp_path / "elsewhere" / "again.csv")
    assert all(file.is_file() for file in Manifest.read(written).files)


def test_a_manifest_of_another_suffix_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"m\.json: a manifest is written as \.parquet or \.csv"):
        found("omg", tmp_path / "nowhere", out=tmp_path / "m.json")


def test_read_is_the_same_manifest_and_does_not_drop_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faces = read("aff-wild2", trees.aff_wild2(tmp_path))
    assert isinstance(faces, Manifest)
    assert len(faces) == 5
    assert "left out 1: frame has no label (-5) (first: video1_left.txt, frame 2)" in caplog.text


def mine(root: Path, options: Options, tally: Tally) -> pd.DataFrame:
    tally.add("I did not like it", 2, "b.png")
    return pd.DataFrame({"path": ["a.png"], "valence": [0.5], "arousal": [0.5]})


def test_a_reader_of_ones_own_and_an_unknown_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    reading = found("test_readers:mine", tmp_path)
    assert (len(reading.manifest), dict(reading.dropped)) == (1, {"I did not like it": 2})
    with pytest.raises(UsageError, match=r"unknown reader 'afewva'\. Did you mean 'afew-va'"):
        found("afewva", tmp_path)
    with pytest.raises(UsageError, match="are for the reader `table`"):
        found("omg", tmp_path, range="0,1")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = trees.table(tmp_path)
    out = tmp_path / "m.parquet"
    command = ["manifest", "table", str(file), "-o", str(out), "--columns", "path=file,valence=v,arousal=a"]
    assert cli.main([*command, "--range", "-10,10"]) == 0  # a value that begins with a minus
    said = capsys.readouterr().out
    assert "table: 3 rows" in said
    assert "left out: nothing" in said
    assert Manifest.read(out).targets.min() == -1
    assert cli.main(["manifest", "omg", str(tmp_path)]) == 1
    assert "looked for omg_TrainVideos.csv" in capsys.readouterr().err


def test_every_reader_is_tested_here() -> None:
    assert set(READERS) == {*ALL, "table"}


def test_class_folders_may_be_links(tmp_path: Path) -> None:
    """`--follow-links true` never walked into them."""
    root, away = trees.folder(tmp_path / "set"), tmp_path / "away"
    (root / "train" / "happy").rename(away)
    (root / "train" / "happy").symlink_to(away)
    (root / "joy").symlink_to(away)  # at the root, whose path begins with no slash
    (root / "train" / "sad").symlink_to(root / "val" / "sad")  # a link that does not leave the root
    reading = found("folder", root)
    assert "train/sad/c.png" in labels(reading)
    assert reading.dropped[OUTSIDE] == 2
    assert reading.first[OUTSIDE] == "joy (a link)"
    (root / "train" / "happy" / "again").symlink_to(root / "train")  # for ever
    (root / "train" / "self").symlink_to("self")
    followed = found("folder", root, follow_links=True)
    assert {"train/happy/a.png", "joy/a.png"} <= labels(followed).keys()
    assert OUTSIDE not in followed.dropped
    assert followed.dropped["link leads to a folder that holds it"] >= 1


def test_absolute_paths_through_a_linked_root_are_inside_it(tmp_path: Path) -> None:
    """/data, a link to /mnt/ssd: paths that begin with /data were said to leave the root."""
    trees.table(tmp_path / "ssd")
    (tmp_path / "data").symlink_to("ssd")
    for name in ("data", "ssd"):
        lines = ["path,valence,arousal", *(f"{tmp_path / name}/pictures/{x}.png,0,0" for x in "abc")]
        (tmp_path / "ssd" / "labels.csv").write_text("\n".join(lines))
        reading = found("table", tmp_path / "data" / "labels.csv")
        assert list(labels(reading)) == [f"pictures/{x}.png" for x in "abc"]


@pytest.mark.parametrize("name", ["afew-va", "affectnet", "folder"])
def test_a_folder_of_images_is_refused_where_it_would_be_ignored(name: str, tmp_path: Path) -> None:
    make = {"affectnet": trees.affectnet_2021}.get(name) or ALL[name]
    with pytest.raises(UsageError, match=r"--images is not for .*: its images lie .*; leave it out"):
        found(name, make(tmp_path), images="pictures")


def test_aff_wild2_crops_in_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = trees.aff_wild2(tmp_path / "set")
    (root / "cropped_aligned").rename(root / "mine")
    monkeypatch.chdir(tmp_path)
    for given in ("mine", str(root / "mine"), str(root / ".." / "set" / "mine")):
        assert "mine/video1_left/00001.jpg" in labels(found("aff-wild2", Path("set"), images=given))
    (root / "mine").rename(tmp_path / "mine")
    for given in (str(tmp_path / "mine"), "../mine"):
        with pytest.raises(IdferError, match=r"mine: is not under set; give --images"):
            found("aff-wild2", Path("set"), images=given)
