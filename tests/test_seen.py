"""What a run was trained on is known again by content: in another folder, by another name, as test rows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import idfer
from idfer import IdferError, Manifest, UsageError, cli
from idfer.data.content import content_digest, image_keys, person_keys
from idfer.evaluation.evaluation import Evaluation
from idfer.evaluation.seen import HELD_OUT, TRAINED
from idfer.evaluation.suite import measure

OPTIONS: dict[str, Any] = {
    "backbone": "conv4", "size": 32, "batch_size": 32, "dim": 8, "epochs": 1, "device": "cpu",
    "progress": False, "method": "erm",
}  # fmt: skip


def evaluate(run: Path, faces: Manifest) -> Evaluation:
    return measure(run, faces, suites=["accuracy"], device="cpu", progress=False)


def without_splits(faces: Manifest) -> Manifest:
    return Manifest.from_frame(faces.frame.assign(split=""), faces.root)


def test_the_same_faces_by_another_path_are_the_same_run(
    squares: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "else where"
    (elsewhere / "pictures").mkdir(parents=True)
    for file in squares.files:
        shutil.copy(file, elsewhere / "pictures" / f"face {file.name}")
    moved = squares.frame.assign(path=[f"pictures/face {path}" for path in squares.frame["path"]])
    run = idfer.fit(squares, out=tmp_path / "run", **OPTIONS)
    capsys.readouterr()
    idfer.fit(Manifest.from_frame(moved, elsewhere), out=tmp_path / "run", **OPTIONS)
    assert "already trained" in capsys.readouterr().err
    relabelled = squares.frame.assign(valence=squares.frame["valence"] * 0.5)
    with pytest.raises(UsageError, match="its training faces or their labels are others"):
        idfer.fit(Manifest.from_frame(relabelled, squares.root), out=run, **OPTIONS)
    with pytest.raises(UsageError, match=r"holds a run of other settings \(lr: 0.001, now 0.01\)"):
        idfer.fit(squares, out=run, **OPTIONS, lr=0.01)


def test_rows_and_people_that_were_trained_on_are_marked_and_warned_about(
    squares: Manifest, tmp_path: Path
) -> None:
    run = idfer.fit(squares, out=tmp_path / "run", **OPTIONS)
    unseen = evaluate(run, squares)
    assert set(unseen.predictions["seen"]) == {""}
    assert "IDF103" not in {check.code for check in unseen.checks}
    frame = squares.frame.assign(split="test")
    frame.loc[frame["subject"] == "p0", "path"] = "095.png"  # a training person in a picture not trained on
    seen = evaluate(run, Manifest.from_frame(frame, squares.root))
    people = seen.predictions.groupby("subject")["seen"].first()
    assert people["p0"] == "person"
    assert people["p1"] == "image"
    assert people["p11"] == ""
    assert seen.metrics["data"]["splits"]["test"]["seen"] == 72
    assert "IDF103" in str(seen)


def test_holdout_keeps_people_back_and_evaluate_tells_them_from_the_others(
    squares: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = without_splits(squares)
    run = idfer.fit(faces, out=tmp_path / "run", holdout=0.25, **OPTIONS)
    assert "3 people (24 faces) are kept back" in capsys.readouterr().err
    assert "val_ccc" in (run / "log.jsonl").read_text()
    found = evaluate(run, faces)
    assert found.predictions["split"].value_counts().to_dict() == {TRAINED: 72, HELD_OUT: 24}
    by_person = found.predictions.groupby("subject")["split"].nunique()
    assert (by_person == 1).all()
    assert set(found.accuracy["split"]) == {TRAINED, HELD_OUT}
    idfer.fit(faces, out=tmp_path / "all", **OPTIONS)
    assert (
        "all 96 faces are trained on and none is left to test with; --holdout 0.2" in capsys.readouterr().err
    )
    everything = evaluate(tmp_path / "all", faces)
    assert set(everything.predictions["split"]) == {TRAINED}
    assert "IDF103" in {check.code for check in everything.checks}


def test_holdout_that_makes_no_sense_is_refused(squares: Manifest, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this one has train, val"):
        idfer.fit(squares, out=tmp_path / "run", holdout=0.2, **OPTIONS)
    one = without_splits(squares).rows(np.arange(8))
    with pytest.raises(UsageError, match="leaves nobody on one side"):
        idfer.fit(one, out=tmp_path / "run", holdout=0.2, **OPTIONS)


def test_keys_are_of_content(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x" * 100_000 + b"a")
    (tmp_path / "b.bin").write_bytes(b"x" * 100_000 + b"b")
    (tmp_path / "c.bin").write_bytes(b"x" * 100_000 + b"a")
    (tmp_path / "d.bin").write_bytes(b"x")
    frame = pd.DataFrame({"path": [f"{n}.bin" for n in "abcde"], "valence": 0.0, "arousal": 0.0})
    faces = Manifest.from_frame(frame.assign(subject=["p", "p", "q", "", ""]), tmp_path)
    keys = image_keys(faces)
    assert keys[0] == keys[2]
    assert len(set(keys.tolist())) == 4  # a file that is missing is another
    people = person_keys(faces)
    assert people[0] == people[1] != people[2]
    assert people[3] == people[4] == 0
    boxed = Manifest.from_frame(frame.assign(x=1.0, y=1.0, width=5.0, height=5.0), tmp_path)
    assert content_digest(faces, keys) != content_digest(boxed, keys)


def test_faces_that_cannot_be_found_say_what_to_do(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(4):
        Image.new("RGB", (40, 40), (40 * number, 0, 0)).save(tmp_path / f"{number}.png")
    frame = pd.DataFrame({"path": [f"{n}.png" for n in range(4)], "valence": 0.1, "arousal": 0.2})
    plain = Manifest.from_frame(frame, tmp_path)
    with pytest.raises(IdferError, match=r"no face can be trained on.*no face found.*give --detector none"):
        idfer.fit(plain, out=tmp_path / "run", **OPTIONS)
    run = idfer.fit(plain, out=tmp_path / "run", **OPTIONS | {"batch_size": 2}, detector="none")
    assert idfer.load(run).checkpoint.preprocess.detector == "none"


def test_a_run_is_run_again_from_its_own_configuration(
    squares: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = idfer.fit(squares, out=tmp_path / "run", **OPTIONS, terms={}, augmentation=False)
    again = ["fit", str(squares.root), "--config", str(run / "config.yaml"), "--progress", "false"]
    assert cli.main([*again, "--device", "cpu", "-o", str(tmp_path / "again")]) == 0
    weights = [(folder / "model.safetensors").read_bytes() for folder in (run, tmp_path / "again")]
    assert weights[0] == weights[1]
    capsys.readouterr()
    assert cli.main([*again, "-o", str(run)]) == 0
    assert "already trained" in capsys.readouterr().err


def test_a_run_without_its_memory_says_so_and_the_same_fit_restores_it(
    squares: Manifest, tmp_path: Path
) -> None:
    run = idfer.fit(squares, out=tmp_path / "run", **OPTIONS)
    (run / "seen.safetensors").unlink()
    assert "IDF112" in {check.code for check in evaluate(run, squares).checks}
    idfer.fit(squares, out=run, **OPTIONS)
    assert "IDF112" not in {check.code for check in evaluate(run, squares).checks}
