"""Files that are either whole or absent: atomic writes, checksums, checked downloads, the cache folder."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from idfer.errors import IdferError

_CHUNK = 1 << 20


def cache_dir() -> Path:
    """The folder for downloads and retrieved embeddings: `$IDFER_CACHE`, else the platform's own."""
    if chosen := os.environ.get("IDFER_CACHE"):
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("idfer", appauthor=False)


def offline() -> bool:
    """Whether downloads are off (`IDFER_OFFLINE` or `HF_HUB_OFFLINE` set to a true value)."""
    return any(
        os.environ.get(k, "").lower() in {"1", "true", "yes", "on"}
        for k in ("IDFER_OFFLINE", "HF_HUB_OFFLINE")
    )


def contents(folder: str | Path) -> list[Path]:
    """What a folder holds, but for hidden files: a process killed within `atomic` leaves one behind."""
    return sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure nothing changes.

    Raises:
        IdferError: the folder cannot be written or the disk is full; what stood at `path` is kept.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as done:
            os.fsync(done.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files only their owner can read
        temporary.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise IdferError(
            f"cannot write {target}: {reason}. Free some space or choose another folder; "
            "what was there before is unchanged."
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(url: str, path: str | Path, checksum: str, *, timeout: float = 20.0) -> Path:
    """Return `path`, downloading it from `url` first when it is absent.

    The bytes are hashed before the file appears, so a broken download never looks like a good one.

    Args:
        url: http(s) or file address.
        path: where the file belongs.
        checksum: expected SHA-256, 64 hex digits.
        timeout: seconds without an answer before giving up.

    Raises:
        IdferError: offline mode is on, the address does not answer, or the checksum differs.
    """
    import http.client
    import urllib.error
    import urllib.request

    target = Path(path)
    if target.is_file() and sha256(target) == checksum:
        return target
    if offline():
        raise IdferError(
            f"{target.name} is not cached at {target} and downloads are off (IDFER_OFFLINE); "
            f"download {url} there yourself or unset IDFER_OFFLINE."
        )
    with atomic(target) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer, temporary.open("wb") as out:
                while chunk := answer.read(_CHUNK):
                    out.write(chunk)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise IdferError(
                f"cannot download {url}: {getattr(error, 'reason', error)}; "
                f"check the connection, or put the file at {target} yourself."
            ) from error
        if (found := sha256(temporary)) != checksum:
            raise IdferError(
                f"{url} arrived with SHA-256 {found[:12]}..., expected {checksum[:12]}...; "
                "nothing was kept. Try again, or report it if it stays so."
            )
    return target
