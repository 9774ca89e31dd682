"""Files are whole or absent; downloads are checked against a real local server; YAML cannot unfold."""

from __future__ import annotations

import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from idfer.errors import IdferError
from idfer.files import atomic, fetch, read_yaml, sha256

CONTENT = b"weights" * 1000
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real HTTP server of a folder with one good file."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "good.bin").write_bytes(CONTENT)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "served"))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IDFER_OFFLINE")


@pytest.mark.usefixtures("online")
def test_a_good_download_is_kept_and_not_asked_for_twice(server: str, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "model.bin"
    assert fetch(f"{server}/good.bin", target, CHECKSUM) == target
    assert target.read_bytes() == CONTENT
    assert fetch(f"{server}/gone.bin", target, CHECKSUM) == target


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    ("name", "message"), [("good.bin", "expected 0{12}"), ("gone.bin", "cannot download.*gone")]
)
def test_a_bad_download_leaves_nothing(server: str, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(IdferError, match=message):
        fetch(f"{server}/{name}", tmp_path / "cache" / "model.bin", "0" * 64)
    assert list((tmp_path / "cache").iterdir()) == []


def test_offline_says_where_the_file_belongs(tmp_path: Path) -> None:
    with pytest.raises(IdferError, match=r"downloads are off.*IDFER_OFFLINE"):
        fetch("http://127.0.0.1:9/x", tmp_path / "model.bin", CHECKSUM)


def test_a_failed_write_keeps_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "result.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.txt"]


def test_what_a_killed_process_left_is_removed_when_the_file_is_written_again(tmp_path: Path) -> None:
    code = (
        "import os, sys; from idfer.files import atomic as a; f = a(sys.argv[1]); f.__enter__(); os._exit(9)"
    )
    target = tmp_path / "result.csv"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    old, living = tmp_path.iterdir()
    link = tmp_path / old.name.replace(old.stem[-8:], "abcdefgh")
    link.symlink_to(living)
    users = tmp_path / ".result-20240101.csv"
    users.write_text("a user's")
    other = tmp_path / old.name.replace("result", "results")
    other.touch()
    for path in (old, users, other, link):
        os.utime(path, (0, 0), follow_symlinks=False)
    with atomic(target) as temporary:
        temporary.write_text("whole")
    assert set(tmp_path.iterdir()) == {target, living, users, other, link}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(IdferError, match=r"cannot write .*result\.txt"),
        atomic(tmp_path / "file" / "result.txt"),
    ):
        pass


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(CONTENT)
    assert sha256(tmp_path / "x") == CHECKSUM


def test_yaml_is_read_as_plain_data(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("lr: 0.001\nattributes: []\nterms: {beta: 0.1}  # ours\nname: Zoë\n", encoding="utf-8")
    assert read_yaml(file) == {"lr": 0.001, "attributes": [], "terms": {"beta": 0.1}, "name": "Zoë"}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "line 1: anchors and aliases"),
        ("a: 1\nb: *nobody\n", "line 2: anchors and aliases"),
        ("a: " + "[" * 50_000 + "]" * 50_000, "line 1: .* nested deeper"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "line 4: the key 'c' stands twice"),
        ("a: 1\nb: [1, 2\nc: 3\n", "line 3: "),
        ("a: 1\nb: !!python/object/apply:os.getcwd []\n", "line 2: .*constructor"),
        ("a: 1\nb: " + "9" * 5000, "line 2: cannot be read"),
        ("a: 1\nb: 2001-99-99\n", "line 2: cannot be read"),
        ("a: \x07\n", "is not YAML"),
        ("- a\n- b\n", "holds a list; it must be a mapping"),
        ("", "holds nothing"),
        ("3: a\n", "the key 3 is not a name"),
        ("a: " + "x" * (1 << 20), "is larger than 1048576 bytes"),
    ],
)
def test_yaml_that_is_not_ours_is_refused_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(IdferError, match=rf"settings\.yaml: {reason}") as refused:
        read_yaml(file)
    assert len(str(refused.value).splitlines()) == 1


def test_what_is_no_yaml_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "latin").write_bytes(b"a: 1\nb: \xff\n")
    for name, reason in {
        "fifo": "not a regular file",
        "endless": "not a regular file",
        ".": "not a regular file",
        "latin": "line 2: is not UTF-8",
        "absent": "no such file",
        "x" * 300: "cannot be read",
        "nul\0": "cannot be read",
    }.items():
        with pytest.raises(IdferError, match=reason):
            read_yaml(tmp_path / name)
