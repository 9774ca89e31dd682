"""`idfer check`: what would spoil a result is found before anything is trained."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from idfer import AttributeTable, Manifest, check, cli
from idfer.data.near import difference_hash, near_pairs
from idfer.errors import IdferError
from idfer.evaluation.data_checks import Findings, explained


def picture(seed: int, size: int = 64) -> Image.Image:
    """A picture like no other: smooth blobs."""
    coarse = np.random.default_rng(seed).integers(0, 255, (7, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def write(root: Path, **columns: Any) -> Path:
    """Twelve pictures of six people, three of them in training, and a table of them."""
    count = 12
    for i in range(count):
        picture(i).save(root / f"{i}.png")
    rng = np.random.default_rng(0)
    table = {
        "path": [f"{i}.png" for i in range(count)],
        "subject": [f"p{i // 2}" for i in range(count)],
        "split": ["train"] * 6 + ["test"] * 6,
        "valence": rng.uniform(-1, 1, count).round(2).tolist(),
        "arousal": rng.uniform(-1, 1, count).round(2).tolist(),
    }
    pd.DataFrame(table | columns).to_csv(root / "manifest.csv", index=False)
    return root / "manifest.csv"


def changed(values: list[Any], row: int, value: Any) -> list[Any]:
    return [*values[:row], value, *values[row + 1 :]]


def found(manifest: Path | Manifest, **options: Any) -> Findings:
    return check(manifest, progress=False, **options)


def codes(findings: Findings) -> dict[str, str]:
    return {said.code: said.level for said in findings.checks}


def test_nothing_is_said_against_a_good_manifest(tmp_path: Path) -> None:
    findings = found(write(tmp_path))
    assert findings.checks == ()
    assert (findings.exit_code, findings.rows, findings.files) == (0, 12, 12)
    assert "nothing to say" in str(findings)


PEOPLE = [f"p{i // 2}" for i in range(12)]
LABELS = [(-1) ** i * 0.05 * i for i in range(12)]


@pytest.mark.parametrize(
    ("columns", "code", "level", "said"),
    [
        ({"subject": changed(PEOPLE, 11, "p0")}, "IDF001", "error", r"'p0', in 'train' and 'test'"),
        (
            {"split": ["train"] * 6 + ["val"] * 3 + ["test"] * 3},
            "IDF209",
            "warning",
            "'p4', in 'val' and 'test'",
        ),
        ({"valence": changed(LABELS, 3, -5)}, "IDF002", "error", r"1 row \(row 3, 3.png: -5"),
        ({"arousal": changed(LABELS, 3, "high")}, "IDF003", "error", r"1 row \(row 3, 3.png: 'high'\)"),
        ({"box": changed([""] * 12, 2, "[1, 2, 0, 4]")}, "IDF004", "error", r"row 2 \(2.png\): the box is"),
        ({"frame": changed([-1] * 12, 2, 7)}, "IDF005", "error", r"row 2 \(2.png\): frame is '7"),
        (
            {"path": changed([f"{i}.png" for i in range(12)], 4, "x.png")},
            "IDF203",
            "error",
            "1 file is not there",
        ),
        ({"subject": [""] * 12}, "IDF206", "warning", "of any row"),
        ({"subject": changed(PEOPLE, 1, "")}, "IDF206", "note", "of 1 row"),
        ({"subject_kind": ["video"] * 12}, "IDF207", "note", "videos, which stand in for people"),
        ({"valence": [0.1 * abs(v) for v in LABELS]}, "IDF208", "warning", "never changes sign"),
        ({"path": ["0.png", "0.png", *(f"{i}.png" for i in range(2, 12))]}, "IDF210", "note", "1 row repeat"),
    ],
)
def test_each_flaw_is_named(
    columns: dict[str, Any], code: str, level: str, said: str, tmp_path: Path
) -> None:
    import re

    findings = found(write(tmp_path, **columns))
    assert codes(findings) == {code: level}
    assert re.search(said, findings.checks[0].message), findings.checks[0].message
    assert findings.exit_code == (level == "error")


def test_several_flaws_are_all_found_worst_first(tmp_path: Path) -> None:
    findings = found(write(tmp_path, valence=changed(changed(LABELS, 3, -5), 7, "?"), subject=[""] * 12))
    assert [said.code for said in findings.checks] == ["IDF002", "IDF003", "IDF206"]
    assert "2 errors, 1 warning" in str(findings)
    assert list(findings.frame()["level"]) == ["error", "error", "warning"]


def test_the_same_picture_under_another_name_in_another_split(tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "9.png").write_bytes((tmp_path / "1.png").read_bytes())
    (tmp_path / "4.png").write_bytes((tmp_path / "5.png").read_bytes())  # within train
    findings = found(file)
    assert codes(findings) == {"IDF201": "error"}
    assert "2 rows (the first: 1.png (train) and 9.png (test))" in findings.checks[0].message


def test_two_faces_in_one_photograph_are_not_the_same_picture(tmp_path: Path) -> None:
    boxes = [[0, 0, 30, 60], [32, 0, 30, 60]]
    paths = ["0.png", *(f"{i}.png" for i in range(1, 11)), "0.png"]
    file = write(tmp_path, path=paths, box=[str(boxes[0]), *[""] * 10, str(boxes[1])])
    assert codes(found(file)) == {}
    file = write(tmp_path, path=paths, box=[str(boxes[0]), *[""] * 10, str([2, 1, 30, 60])])
    assert codes(found(file))["IDF201"] == "error"


@pytest.mark.parametrize("change", ["smaller", "compressed", "brighter"])
def test_a_copy_of_another_size_or_compression_is_a_near_duplicate(change: str, tmp_path: Path) -> None:
    file = write(tmp_path)
    copy = picture(1)
    if change == "smaller":
        copy = copy.resize((40, 40))
    elif change == "brighter":
        copy = copy.point(lambda value: min(255, int(value * 1.1)))
    stream = io.BytesIO()
    copy.save(stream, "JPEG", quality=60 if change == "compressed" else 95)
    (tmp_path / "9.png").write_bytes(stream.getvalue())
    findings = found(file)
    assert codes(findings) == {"IDF202": "warning"}
    assert "1.png (train) and 9.png (test)" in findings.checks[0].message
    assert codes(found(file, near=False)) == {}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    file = write(tmp_path)
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "8.png").write_text("no image")
    findings = found(file)
    assert codes(findings) == {"IDF204": "error"}
    assert "2 files are unreadable" in findings.checks[0].message
    assert found(file, images=False).checks == ()
    assert found(file, images=False).files == 0


def test_near_pairs_are_those_an_explicit_loop_finds() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 255, (60, 40), np.uint8)
    hashes = np.concatenate([hashes, hashes, hashes[:20]])
    for row in range(60, 140):  # none to six bits of the first 64 turned, some beyond the bound
        for bit in rng.choice(64, rng.integers(0, 6), replace=False):
            hashes[row, bit // 8] ^= 1 << (bit % 8)
        for bit in rng.choice(256, rng.integers(20, 45), replace=False):
            hashes[row, 8 + bit // 8] ^= 1 << (bit % 8)
    groups = rng.integers(0, 3, len(hashes))
    bits = np.unpackbits(hashes, axis=1).astype(int)
    expected = [
        (i, j)
        for i in range(len(bits))
        for j in range(i + 1, len(bits))
        if groups[i] != groups[j]
        and (bits[i, :64] != bits[j, :64]).sum() <= 3
        and (bits[i, 64:] != bits[j, 64:]).sum() <= 32
    ]
    assert expected
    assert list(map(tuple, near_pairs(hashes, groups).tolist())) == expected


def test_an_even_picture_has_no_hash() -> None:
    assert difference_hash(np.full((40, 40, 3), 90, np.uint8)) is None


def test_labels_that_go_with_an_attribute(squares: Manifest, squares_table: AttributeTable) -> None:
    assert codes(found(squares, attributes=squares_table)) == {}
    red = squares_table.posteriors[:, squares_table.levels["tint"].index("red")]
    frame = squares.frame.assign(valence=np.where(red > 0.5, 0.5, -0.5) + 0.1 * squares.frame["valence"])
    findings = found(Manifest.from_frame(frame, squares.root), attributes=squares_table)
    assert codes(findings) == {"IDF205": "warning"}
    assert "tint" in findings.checks[0].message
    assert "variance of valence" in findings.checks[0].message


def test_explained_variance_is_that_of_group_means_and_forgives_few_people() -> None:
    rng = np.random.default_rng(0)
    level = rng.integers(0, 3, 3000)
    label = 0.5 * level + rng.normal(size=3000)
    means = np.array([label[level == k].mean() for k in range(3)])[level]
    assert explained(label, level.astype(str), 10**6) == pytest.approx(means.var() / label.var(), abs=1e-5)
    assert explained(label, level.astype(float), 10**6) == pytest.approx(
        np.corrcoef(label, level)[0, 1] ** 2, abs=1e-5
    )
    assert explained(label, level.astype(str), 4) == 0
    assert explained(label, np.full(3000, "same"), 100) == 0


def test_the_command_ends_with_1_on_errors_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, subject=[""] * 12)
    assert cli.main(["check", str(file), "--progress", "false"]) == 0
    assert "IDF206  warning" in capsys.readouterr().out
    (tmp_path / "3.png").unlink()
    assert cli.main(["check", str(file), "--progress", "false"]) == 1
    assert "IDF203  error" in capsys.readouterr().out


def test_what_is_no_manifest_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, valence=["x"] * 12)
    with pytest.raises(IdferError, match="no row has labels that can be used"):
        found(file)
    file.write_text("path,valence\na.png,1\n")
    with pytest.raises(IdferError, match="column 'arousal' is missing"):
        found(file)


@pytest.mark.parametrize(("split", "level"), [("train", "warning"), ("val", "error")])
def test_one_video_under_two_names_is_told_by_its_labels(tmp_path: Path, split: str, level: str) -> None:
    """Aff-Wild2 holds the videos of Aff-Wild, renamed, and lacks frames without a face."""
    rng = np.random.default_rng(0)
    rated = [np.clip(np.cumsum(rng.normal(0, 0.02, (300, 2)), axis=0), -1, 1) for _ in range(4)]
    parts = []
    for source, subject, labels, of in (
        ("aff-wild", "105", rated[0], "train"), ("aff-wild", "106", rated[1], "train"),
        ("aff-wild2", "video7", np.delete(rated[0], [10, 11, 200], axis=0), split),
        ("aff-wild2", "video8", rated[2], split), ("aff-wild2", "flat", 0 * rated[3], split),
        ("aff-wild", "even", 0 * rated[3], "train"),
    ):  # fmt: skip
        kept = pd.DataFrame(labels.round(4), columns=["valence", "arousal"])
        parts.append(kept.assign(path=f"{subject}.png", source=source, subject=subject, split=of))
    faces = Manifest.from_frame(pd.concat(parts, ignore_index=True), tmp_path)
    (told,) = (check for check in found(faces, images=False).checks if check.code == "IDF211")
    assert told.level == level
    assert told.message.startswith("1 videos are in two sources")
    assert "'105' of aff-wild and 'video7' of aff-wild2" in told.message
    alone = faces.rows((faces.frame["source"] == "aff-wild").to_numpy())
    assert not [check for check in found(alone, images=False).checks if check.code == "IDF211"]
