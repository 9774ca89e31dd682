"""A long result, made row by row: a named partial file until it is whole, which then replaces the old one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from idfer.errors import IdferError

_MOST = 100  # processes that write one output at a time


@contextmanager
def partial_file(target: Path, keep: bool = False) -> Iterator[Path]:
    """Yield `NAME.partial.SUFFIX` beside a target, empty, to be written as rows are made.

    On success it replaces the target. Whatever ends the work early, be it `kill -9`, leaves the target as it
    was and the partial file with what was written until then; the next run with the same target overwrites
    it. While a living process holds it, another takes `NAME.partial-2.SUFFIX` and so on, so that two runs
    with one target never mix; the last to finish is kept.

    Args:
        target: the file.
        keep: leave what an earlier run wrote into the partial file, to go on from it.

    Raises:
        IdferError: the folder cannot be written, the disk is full, or something else is in the way.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        path, held = _reserve(target, keep)
    except OSError as error:
        raise cannot_write(target, error) from error
    with held:
        try:
            yield path
        except BaseException:
            if path.stat().st_size == 0:
                path.unlink()
            raise
        try:
            _replace(path, held, target)
        except OSError as error:
            raise cannot_write(target, error, path) from error


def cannot_write(target: Path, error: OSError, partial: Path | None = None) -> IdferError:
    """The error of an output that cannot be written; `partial` holds the rows that were."""
    kept = "" if partial is None else f" The rows made until then are in {partial}."
    return IdferError(
        f"cannot write {target}: {error.strerror or error}. Free some space or choose another folder; what "
        f"was there before is unchanged.{kept}"
    )


def _names(target: Path) -> Iterator[Path]:
    """What a target's partial files are called."""
    for number in range(1, _MOST + 1):
        which = "" if number == 1 else f"-{number}"
        yield target.with_name(f"{target.stem}.partial{which}{target.suffix}")


def _reserve(target: Path, keep: bool) -> tuple[Path, BinaryIO]:
    """The first partial file that no living process holds, held, and emptied unless it is to be kept."""
    for path in _names(target):
        if (held := _hold(path, os.O_CREAT)) is not None:
            if not keep:
                held.truncate(0)
            return path, held
    raise OSError(f"{_MOST} processes are writing it already")


def _hold(path: Path, create: int = 0) -> BinaryIO | None:
    """Open a file and lock it; None where another process holds it, or has just renamed it.

    The lock goes when the file is closed or the process ends, however it ends.
    """
    flags = os.O_RDWR | create | getattr(os, "O_NOFOLLOW", 0)
    held = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
    mine = False
    try:
        if not stat.S_ISREG(os.fstat(held.fileno()).st_mode):
            raise OSError(f"{path} is in the way")
        mine = _locked(held) and os.path.samestat(os.fstat(held.fileno()), path.stat())
    except FileNotFoundError:  # renamed between opening and locking
        pass
    finally:
        if not mine:
            held.close()
    return held if mine else None


def _locked(held: BinaryIO) -> bool:
    """Lock an open file, if nobody else has."""
    try:
        import fcntl
    except ImportError:  # Windows, where nobody can replace a file that another process has open
        return True
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _replace(path: Path, held: BinaryIO, target: Path) -> None:
    """Put a finished partial file in its target's place, and remove those that killed runs left."""
    os.fsync(held.fileno())
    if os.name == "nt":
        held.close()
    path.replace(target)
    for left in _names(target):
        if left.exists():
            with suppress(OSError):
                abandoned = _hold(left)
                if abandoned is not None:
                    with abandoned:
                        left.unlink()
