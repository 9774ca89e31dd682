"""The manifest refuses what would silently spoil a result, and says which row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from idfer.data.manifest import Manifest
from idfer.errors import IdferError, UsageError


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
