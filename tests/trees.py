"""Data sets as their authors lay them out on a disk, in miniature, made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

LANDMARKS = [[20.0, 20.0], [60.0, 20.0], [40.0, 60.0]]
AFFECTNET_COLUMNS = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)


def image(path: Path, seed: int = 0, size: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def affectnet_2017(root: Path) -> Path:
    """Four training rows, of which one has no face and one an uncertain rater; two validation rows."""
    rows = {
        "training": [
            "1/a.jpg,2,3,20,20,1;2,1,0.5,0.25",
            "1/b.jpg,2,3,20,20,1;2,10,-2,-2",
            "2/c.jpg,2,3,20,20,1;2,9,-2,-2",
            "2/d.jpg,0,0,0,0,1;2,8,-0.5,1",
        ],
        "validation": ["3/e.jpg,2,3,20,20,1;2,0,0,0", "3/f.jpg,2,3,20,20,1;2,6,-0.75,0.5"],
    }
    for name, lines in rows.items():
        header = [AFFECTNET_COLUMNS] if name == "training" else []
        folder = root / "Manually_Annotated_file_lists"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.csv").write_text("\n".join([*header, *lines]) + "\n")
        for line in lines:
            image(root / "Manually_Annotated_Images" / line.split(",")[0])
    return root


def affectnet_2021(root: Path) -> Path:
    """Three training faces, one of them labelled -2, one with labels as text; one validation face."""
    labels = {
        "train_set": {"0": (1, 0.5, 0.25), "5": (2, "-0.5", "0.75"), "7": (9, -2, -2)},
        "val_set": {"3": (0, 0, 0)},
    }
    for name, faces in labels.items():
        (root / name / "annotations").mkdir(parents=True)
        for stem, values in faces.items():
            image(root / name / "images" / f"{stem}.jpg")
            for label, value in zip(("exp", "val", "aro"), values, strict=True):
                np.save(root / name / "annotations" / f"{stem}_{label}.npy", np.array(value))
            np.save(root / name / "annotations" / f"{stem}_lnd.npy", np.zeros(136))
    return root


def aff_wild(root: Path) -> Path:
    for stem, values in {"105": ("0.1", "-0.2", "0.3"), "106": ("1", "0")}.items():
        for label in ("valence", "arousal"):
            folder = root / "annotations" / "train" / label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{stem}.txt").write_text("\n".join(values) + "\n")
        video = root / "videos" / "train" / f"{stem}.mp4"
        video.parent.mkdir(parents=True, exist_ok=True)
        video.write_bytes(b"video")
    return root


def aff_wild2(root: Path, challenge: str = "VA_Estimation_Challenge") -> Path:
    """Two people of one video in training, one video in validation; a frame is invalid, a crop missing."""
    lines = {
        "Train_Set/video1_left": ["0.1,0.2", "-5,-5", "0.3,-0.4", "0.5,0.5"],
        "Train_Set/video1_right": ["-0.1,0.2"],
        "Validation_Set/9-15-1920x1080": ["1,-1", "0,0"],
    }
    for name, labels in lines.items():
        file = root / challenge / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(["valence,arousal", *labels]) + "\n")
        for i, _ in enumerate(labels, 1):
            if (name, i) != ("Train_Set/video1_left", 4):
                image(root / "cropped_aligned" / file.stem / f"{i:05d}.jpg")
    return root


def afew_va(root: Path, flat: bool = False) -> Path:
    """Two clips of one actor and one of nobody in particular, two frames each."""
    for clip, actor in {"001": "Ann", "002": "Ann", "051": ""}.items():
        folder = root / clip if flat else root / f"{int(clip) // 50 + 1:02d}" / clip
        frames = {
            f"{i:05d}": {"valence": 4.0 - i, "arousal": -10.0 * i, "landmarks": LANDMARKS} for i in range(2)
        }
        for i in range(2):
            image(folder / f"{i:05d}.png", size=80)
        (folder / f"{clip}.json").write_text(json.dumps({"actor": actor, "video_id": clip, "frames": frames}))
    return root


def omg(root: Path) -> Path:
    header = "link,start,end,video,utterance,arousal,valence,EmotionMaxVote"
    for name, folder, rows in (
        ("omg_TrainVideos", "Train_Set", ["l,0,1,vid1,utterance_1.mp4,0.5,-0.25,4"]),
        ("omg_ValidationVideos", "Validation_Set", ["l,0,1,vid2,utterance_1.mp4,1,0.5,3"]),
        ("omg_TestVideos_WithLabels", "Test_Set", ["l,0,1,vid3,utterance_7.mp4,0,0.5,3"]),
    ):
        root.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")
        for row in rows:
            video, utterance = row.split(",")[3:5]
            for i in range(2):
                image(root / folder / video / utterance.removesuffix(".mp4") / f"{i}.jpg")
    return root


def folder(root: Path) -> Path:
    for name in ("train/happy/a.png", "train/anger/b.jpg", "val/sad/c.png", "val/contempt/d.png", "e.png"):
        image(root / name)
    (root / "train" / "happy" / "notes.txt").write_text("no image")
    return root


def table(root: Path) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        image(root / "pictures" / name)
    file = root / "labels.csv"
    file.write_text("file,v,a,who\npictures/a.png,-10,0,007\npictures/b.png,5,10,7\npictures/c.png,0,2.5,x\n")
    return file
