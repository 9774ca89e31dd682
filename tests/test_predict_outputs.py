"""Where predictions go: files of every format, stdout, and what is kept of runs that end early."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from idfer.errors import IdferError
from idfer.inference.output import COLUMNS
from idfer.inference.predictor import Predictor, predict

from photographs import EXPECTED, VA, read, save

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_format_holds_the_same_table(
    model: Predictor, untrained: Path, spoiled: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"out{suffix}"
    with pytest.raises(IdferError, match="3 of 7"):
        predict([str(spoiled)], str(untrained), detector="haar", out=str(out), batch_size=2, progress=False)
    written = read(out)
    expected = model(spoiled, detector="haar", batch_size=2).frame()
    assert list(written.columns) == EXPECTED
    written = written.astype(COLUMNS)
    written["error"] = written["error"].fillna("")
    pd.testing.assert_frame_equal(written, expected, atol=1e-5, rtol=1e-5)


def test_whole_numbers_stay_whole_in_text_files(untrained: Path, photos: Path, tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl"):
        predict(
            [str(photos)], str(untrained), detector="haar", out=str(tmp_path / f"o.{suffix}"), progress=False
        )
    first = (tmp_path / "o.csv").read_text().splitlines()[1].split(",")
    assert all(first[EXPECTED.index(c)].isdigit() for c in ("frame", "face_id", "x", "y", "width", "height"))
    row = json.loads((tmp_path / "o.jsonl").read_text().splitlines()[0])
    assert all(isinstance(row[c], int) for c in ("frame", "face_id", "x", "y", "width", "height"))
    assert row["time"] is None


def test_csv_on_stdout_is_clean_and_warnings_go_to_stderr(
    untrained: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict([str(photos)], str(untrained), progress=True)  # offline: falls back to Haar
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0].split(",") == EXPECTED
    assert len(lines) == 10
    assert all(line.count(",") == len(EXPECTED) - 1 for line in lines)
    assert "Haar" in told.err


def test_a_reader_that_has_seen_enough_is_no_failure(
    untrained: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `idfer predict ... | head`."""
    unread, written = os.pipe()
    os.close(unread)
    with open(written, "w") as stdout:  # noqa: PTH123
        monkeypatch.setattr("sys.stdout", stdout)
        predict([str(photos)], str(untrained), detector="none", progress=False)
        print("more, which the exit would flush")


def test_detach_values_with_commas_and_none(untrained: Path, photos: Path, tmp_path: Path) -> None:
    def va(detach: list[str] | None) -> np.ndarray:
        out = str(tmp_path / "out.csv")
        predict([str(photos / "a one.png")], str(untrained), detach, out, "none", progress=False)
        return read(tmp_path / "out.csv")[VA].to_numpy()

    everything = va(None)
    assert np.array_equal(va(["age,gender"]), everything)
    assert np.array_equal(va(["age", "gender"]), everything)
    assert not np.array_equal(va(["none"]), everything)


def test_file_names_that_are_not_utf8(untrained: Path, photos: Path, tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(photos) + b"/caf\xe9.png"))
    strange.write_bytes((photos / "a one.png").read_bytes())
    predict([str(strange)], str(untrained), detector="none", out=str(tmp_path / "out.csv"), progress=False)
    assert "caf" in read(tmp_path / "out.csv")["input"].iloc[0]


def test_rows_leave_as_they_are_made(model: Predictor, tmp_path: Path) -> None:
    """Constant memory: 600 images never wait together, with faces or without."""
    path = save(tmp_path / "a.png", np.zeros((20, 20, 3), np.uint8))

    def most_waiting(detector: str) -> int:
        taken: list[Path] = []
        files = (taken.append(path) or path for _ in range(600))
        done, most = 0, 0
        for table in model.stream(detector=detector, batch_size=16).run(files):
            most = max(most, len(taken) - done)
            done += len(table)
        assert done == 600
        return most

    assert most_waiting("none") == 16
    assert most_waiting("haar") <= 256


def test_import_is_light() -> None:
    """`idfer predict --help` must not wait for torch."""
    heavy = {"torch", "cv2", "pandas", "timm", "PIL", "pyarrow"}
    code = f"import sys, idfer.inference.predictor; print(*{heavy} & {{*sys.modules}})"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""
