"""Files that are either whole or absent: atomic writes, checksums, checked downloads, the cache folder.

And YAML files that people write or pass on: read with bounds on their size and on what they can unfold to.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from idfer.errors import IdferError, UsageError

_CHUNK = 1 << 20
_MARK = "-idfer-"  # in the names of temporary files, so that none of a user's is taken for one
_STALE_SECONDS = 24 * 3600.0
_YAML_BYTES = 1 << 20
_YAML_DEPTH = 32  # of nested lists and mappings: ours need 5, and PyYAML recurses once per level


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


def taken(path: Path) -> bool:
    """Whether anything is there, a broken link included; other than `Path.exists`, raises what is odd."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def check_writable(folder: Path) -> None:
    """Make and remove a hidden folder in the nearest folder that exists: permissions alone do not tell.

    Raises:
        UsageError: a file stands where a folder must be.
        OSError, ValueError: nothing can be written there, or the name is none.
    """
    nearest = folder
    while not taken(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UsageError(f"{nearest} is a file, not a folder; choose another -o.")
    with tempfile.TemporaryDirectory(dir=nearest, prefix=".idfer-"):
        pass


def check_target(file: Path) -> None:
    """Refuse a file to be written where nothing can be.

    Raises:
        UsageError: why, and to choose another.
    """
    try:
        check_writable(file.absolute().parent)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{file}: cannot be written ({reason}); choose another -o.") from error


@contextmanager
def hub_offline(value: bool) -> Iterator[None]:
    """Let the Hugging Face Hub answer from its cache alone, where it does not do so anyway.

    The hub reads its own offline mode from the environment once, at import.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or value
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


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
        _remove_stale(target)
        prefix = f".{target.stem}{_MARK}"
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=target.suffix, dir=target.parent)
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


def _remove_stale(target: Path) -> None:
    """Remove what processes that were killed left behind of earlier attempts to write the same file.

    Only regular files named as `atomic` names them, which nobody has written to for a day: a living
    process may still be at work on a younger one.
    """
    pattern = re.compile(re.escape(f".{target.stem}{_MARK}") + r"[a-z0-9_]{8}" + re.escape(target.suffix))
    with suppress(OSError):
        for path in target.parent.iterdir():
            if pattern.fullmatch(path.name):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > _STALE_SECONDS:
                    path.unlink()


def read_yaml(path: str | Path, limit: int = _YAML_BYTES) -> dict[str, Any]:
    """Read a mapping of plain data from a YAML file that may come from anybody.

    No object is made but those of YAML itself, and nothing can grow: anchors and aliases (a few hundred
    bytes of them can mean gigabytes), deep nesting and files over `limit` are refused, and so is a key that
    stands twice, of which YAML would silently keep the last.

    Args:
        path: the file.
        limit: its largest size in bytes.

    Returns:
        What it holds, by name.

    Raises:
        IdferError: the file is missing, no regular file, too large, not UTF-8, not YAML, or holds something
            other than a mapping of names; the message names the line.
    """
    import yaml

    text = _read_text(Path(path), limit)
    try:
        _check_events(text, path)
        content: Any = yaml.load(text, _yaml_loader())  # a SafeLoader: plain data only
    except yaml.YAMLError as error:
        raise IdferError(f"{path}: {_yaml_reason(error)}. Mend the file.") from error
    if not isinstance(content, dict):
        held = "nothing" if content is None else f"a {type(content).__name__}"
        raise IdferError(f"{path}: holds {held}; it must be a mapping, one `name: value` a line.")
    for name in content:
        if not isinstance(name, str):
            raise IdferError(f"{path}: the key {name!r} is not a name; put it in quotes if it is meant.")
    return content


def _read_text(file: Path, limit: int) -> str:
    """The text of a regular UTF-8 file of at most `limit` bytes."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # looked at before it is opened: a FIFO would wait forever
            raise IdferError(f"{file}: is not a regular file; give the path of a YAML file.")
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise IdferError(
                f"{file}: is larger than {limit} bytes, which no file of this kind is; check that it is the "
                "right one."
            )
        return data.decode("utf-8")
    except FileNotFoundError as error:
        raise IdferError(f"{file}: no such file; check the path.") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise IdferError(f"{file}: line {line}: is not UTF-8 text; save it as UTF-8.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise IdferError(f"{file!s}: cannot be read ({reason}); check the path and its rights.") from error


def _check_events(text: str, path: str | Path) -> None:
    """Refuse what could unfold or recurse while a YAML text is still a flat list of events."""
    import yaml

    depth = 0
    event: Any  # types-PyYAML thinks that marks may be absent
    for event in yaml.parse(text, _yaml_loader()):
        line = event.start_mark.line + 1
        if getattr(event, "anchor", None) is not None:  # an alias names its anchor too
            raise IdferError(
                f"{path}: line {line}: anchors and aliases (& and *) are not read; write the value out."
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _YAML_DEPTH:
            raise IdferError(
                f"{path}: line {line}: lists and mappings are nested deeper than {_YAML_DEPTH}; "
                "no file of this kind is."
            )


@cache
def _yaml_loader() -> Any:
    """PyYAML's safe loader, the fast one where it was built; refuses keys that stand twice, names lines."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except ValueError as error:  # a date that does not exist, a number of thousands of digits
                reason = f"cannot be read ({str(error).split(';')[0]})"
                raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark) from error

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[str] = set()
            for key_node, _ in node.value:
                key = str(key_node.value)
                if key in seen:
                    reason = f"the key {key!r} stands twice"
                    raise yaml.constructor.ConstructorError(None, None, reason, key_node.start_mark)
                seen.add(key)
            return super().construct_mapping(node, deep)

    return Loader


def _yaml_reason(error: Any) -> str:
    """What is wrong with a YAML text and in which line, in one line."""
    mark = getattr(error, "problem_mark", None)
    reason = " ".join((getattr(error, "problem", None) or str(error)).split())
    return f"line {mark.line + 1}: {reason}" if mark is not None else f"is not YAML: {reason}"


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
        if (arrived := sha256(temporary)) != checksum:
            raise IdferError(
                f"{url} arrived with SHA-256 {arrived[:12]}..., expected {checksum[:12]}...; "
                "nothing was kept. Try again, or report it if it stays so."
            )
    return target
