"""Where predictions go: files of every format, stdout, and what is kept of runs that end early."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from idfer.cli import main
from idfer.errors import IdferError, UsageError
from idfer.inference.inputs import Source
from idfer.inference.output import COLUMNS
from idfer.inference.partial import partial_file
from idfer.inference.predictor import Predictor, predict
from idfer.inference.stream import Stream
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
        files = (taken.append(path) or Source(path) for _ in range(600))
        done, most = 0, 0
        for table in model.stream(detector=detector, batch_size=16).run(files):
            most = max(most, len(taken) - done)
            done += len(table)
        assert done == 600
        return most

    assert most_waiting("none") == 16
    assert most_waiting("haar") <= 256


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_stopped_early_keeps_the_old_results_and_the_rows_made(
    untrained: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[BaseException],
    suffix: str,
) -> None:
    look = Stream._look

    def stop_at_third(self: Stream, source: Source) -> object:
        if source.path.name.startswith("c"):
            raise error
        return look(self, source)

    out, partial = tmp_path / f"out{suffix}", tmp_path / f"out.partial{suffix}"

    def run() -> None:
        predict(
            [str(photos)], str(untrained), detector="none", out=str(out), batch_size=batch, progress=False
        )

    batch = 1
    run()
    whole = out.read_bytes()
    with monkeypatch.context() as stopping, pytest.raises(error):
        stopping.setattr(Stream, "_look", stop_at_third)
        run()
    assert out.read_bytes() == whole
    assert [Path(p).name for p in read(partial)["input"]] == ["a one.png", "b six.png"]
    assert f"stopped early; the rows made until then are in {partial}" in capsys.readouterr().err
    run()
    assert out.read_bytes() == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, "photos"]
    batch = 32
    with monkeypatch.context() as stopping, pytest.raises(error):
        stopping.setattr(Stream, "_look", stop_at_third)
        run()
    assert "no row was made" in capsys.readouterr().err
    assert not partial.exists()


def test_a_full_disk_keeps_the_old_results(
    untrained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(frame: pd.DataFrame, header: bool = False) -> str:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out.csv"
    out.write_text("yesterday's\n")
    monkeypatch.setattr("idfer.inference.writers._csv", full)
    with pytest.raises(IdferError, match="No space left"):
        predict([str(photos)], str(untrained), detector="none", out=str(out), progress=False)
    assert out.read_text() == "yesterday's\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "photos"]


def killed_after_two_rows(run: Path, photos: Path, out: Path) -> None:
    """`idfer predict` killed once it has written two rows and is busy with the third."""
    code = (
        "import sys, time, idfer.inference.stream as s\n"
        "look = s.Stream._look\n"
        "s.Stream._look = lambda self, x: time.sleep(300) if x.path.name[0] == 'c' else look(self, x)\n"
        "import idfer\n"
        "idfer.predict([sys.argv[1]], sys.argv[2], detector='none', out=sys.argv[3], batch_size=1)"
    )
    partial = out.with_name(f"{out.stem}.partial{out.suffix}")
    with subprocess.Popen([sys.executable, "-c", code, str(photos), str(run), str(out)]) as process:
        try:
            while process.poll() is None and not (
                partial.exists() and partial.read_bytes().count(b"\n") >= 3
            ):
                time.sleep(0.02)
        finally:
            process.kill()


@pytest.mark.timeout(120)
def test_a_kill_leaves_its_rows_and_nothing_hidden(untrained: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("yesterday's\n")
    killed_after_two_rows(untrained, photos, out)
    assert out.read_text() == "yesterday's\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "out.partial.csv", "photos"]
    assert [Path(p).name for p in read(tmp_path / "out.partial.csv")["input"]] == ["a one.png", "b six.png"]
    predict([str(photos)], str(untrained), detector="none", out=str(out), progress=False)
    assert len(read(out)) == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "photos"]


def test_two_runs_with_one_output_never_mix(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with partial_file(out) as first:
        first.write_text("first")
        with partial_file(out) as second:
            second.write_text("second")
            with pytest.raises(KeyboardInterrupt), partial_file(out) as third:
                third.write_text("third")
                raise KeyboardInterrupt
            assert sorted(p.read_text() for p in tmp_path.iterdir()) == ["first", "second", "third"]
        assert out.read_text() == "second"
        assert first.read_text() == "first"
        assert not third.exists()  # it was abandoned, and a whole result has come since
    assert out.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_what_stands_in_the_way_of_a_partial_file_is_not_written_through(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("precious")
    (tmp_path / "out.partial.csv").symlink_to(mine)
    with pytest.raises(IdferError, match="cannot write"), partial_file(tmp_path / "out.csv"):
        pytest.fail("begun")
    assert mine.read_text() == "precious"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_stdout_is_one_line(
    untrained: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", str(photos / "a one.png"), "--model", str(untrained), "--detector", "haar"]
    with Path("/dev/full").open("w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert main([*arguments, "--progress", "false"]) == 1
        stdout.flush()  # as the interpreter does at its end
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "No space left" in told[0]


@pytest.mark.parametrize("name", ["a\rb.png", "a\nb.png", "a\r\nb.png", 'a",\rb.png'])
def test_line_breaks_in_names_make_no_rows(
    untrained: Path, photos: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = photos / name
    strange.write_bytes((photos / "a one.png").read_bytes())
    inputs, out = [str(strange), str(photos / "a one.png")], tmp_path / "out.csv"
    predict(inputs, str(untrained), detector="none", out=str(out), progress=False)
    with out.open(newline="", encoding="utf-8") as stream:
        assert [row["input"] for row in csv.DictReader(stream)] == inputs
    assert read(out)["input"].tolist() == inputs
    predict(inputs, str(untrained), detector="none", progress=False)
    assert [
        row["input"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    ] == inputs


def test_predictions_can_be_read_walked_through_and_sent(model: Predictor, photos: Path) -> None:
    (photos / "e empty.png").touch()
    predictions = model(photos, detector="haar")
    frame = predictions.frame()
    rows = list(predictions)
    assert len(rows) == len(predictions) == len(frame) == 10
    assert list(rows[0]) == EXPECTED
    assert rows[0]["valence"] == frame["valence"][0]
    assert type(rows[0]["x"]) is int
    assert rows[0]["time"] is None

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(predictions.to_json(), parse_constant=refuse) == rows
    shown = repr(predictions).splitlines()
    assert shown[0] == "Predictions: 10 rows, 8 faces predicted, 2 rows with `error`"
    assert shown[2].split()[:4] == ["a", "one.png", "0", f"{rows[0]['valence']:+.2f}"]
    assert "5 more rows" in shown[-1]
    assert max(map(len, shown)) < 110
    assert "no face found" in repr(model(photos / "c none.PNG", detector="haar"))


def test_import_is_light() -> None:
    """`idfer predict --help` must not wait for torch."""
    heavy = {"torch", "cv2", "pandas", "timm", "PIL", "pyarrow"}
    code = f"import sys, idfer.inference.predictor; print(*{heavy} & {{*sys.modules}})"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""


def test_a_pipe_is_no_output_and_a_link_goes_on_pointing_to_it(
    untrained: Path, photos: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UsageError, match="is a pipe or device"):
        predict([str(photos)], str(untrained), out=str(tmp_path / "pipe.csv"), progress=False)
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    with suppress(IdferError):  # some of these photographs cannot be read, and their rows say so
        predict([str(photos)], str(untrained), out=str(tmp_path / "link.csv"), progress=False)
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("input,frame")
