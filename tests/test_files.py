"""Files are whole or absent; downloads are checked against a real local server."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from idfer.errors import IdferError
from idfer.files import atomic, fetch, sha256

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
