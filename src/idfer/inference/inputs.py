"""From what a user names (files, folders) to the list of images to predict on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from idfer.data.frames import is_video
from idfer.data.images import SUFFIXES, read_reduced
from idfer.errors import IdferError, UsageError

UNREAD = frozenset({".avif", ".heic", ".heif", ".hif", ".jxl"})
"""Suffixes (lower case) of photographs that cannot be read."""
_URL = re.compile(r"^([a-z][a-z0-9+.-]+://|data:)", re.IGNORECASE)


class Source(NamedTuple):
    """One thing to predict on.

    Attributes:
        path: an image or a video file; or what cannot be one; of an image in memory its name.
        error: why it cannot be read, where that is known beforehand; "" for everything else.
        read: gives the image (H, W, 3) uint8 RGB, and by what its sides were divided, where it is no file; it
            may be called again.
    """

    path: Path
    error: str = ""
    read: Callable[[], tuple[np.ndarray, int]] | None = None

    def image(self) -> tuple[np.ndarray, int]:
        """The image (H, W, 3) uint8 RGB, and by what its sides were divided in reading.

        Raises:
            IdferError: it cannot be read.
        """
        if self.error:
            raise IdferError(self.error)
        return read_reduced(self.path) if self.read is None else self.read()


@dataclass
class Listing:
    """What some inputs stand for.

    Attributes:
        sources: images in the order given, and what should hold or be one but cannot be read.
        videos: videos in folders, which are left out.
        unread: photographs in folders of a kind that cannot be read (`UNREAD`), which are left out.
    """

    sources: list[Source] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)


def list_images(inputs: Iterable[str | Path]) -> Listing:
    """List the images, in the order given; a folder stands for its images at any depth, sorted by path.

    Linked folders are followed; within an input each real folder is searched once, under its own name where
    it has one there. Hidden files and folders inside a folder (names that begin with a dot) are left out.
    Whatever looks like an image by its name is kept even if it is a broken link or a pipe, and so is a file
    named directly, whatever its name: reading it tells what is wrong with it. A folder that cannot be
    searched, and a link without a suffix that leads nowhere (a folder of images that is not there, it may
    be), are sources with an `error`.

    Raises:
        UsageError: no input at all, an empty name, or a web address.
        IdferError: a folder holds nothing to predict on.
    """
    listing = Listing()
    for given in inputs:
        add_path(given, listing)
    if not listing.sources:
        raise UsageError("nothing to predict on; name one or more image files or folders.")
    return listing


def add_path(given: str | Path, listing: Listing) -> None:
    """Add what a file's or folder's name stands for; arguments and errors as for `list_images`."""
    if not str(given):
        raise UsageError("an input has an empty name; name image files or folders (. is this folder).")
    if isinstance(given, str) and _URL.match(given):
        raise UsageError(
            f"{given[:80]}: is an address, and idfer downloads no photographs; download it and give the "
            "file, or in Python its bytes."
        )
    path = Path(given)
    if _is_folder(path):
        _add_folder(path, listing)
    else:
        listing.sources.append(Source(path))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long, a folder on the way not permitted: reading it says so
        return False


def _add_folder(folder: Path, listing: Listing) -> None:
    """Add what a folder holds."""
    search = _Search()
    search.enter(folder)
    while search.links:  # after all that is reached without links, so that a real folder keeps its own name
        search.enter(min(search.links))
    if not search.sources:
        others = (
            f"; its {len(search.videos)} videos are predicted on when they are named" if search.videos else ""
        )
        if search.unread:
            others += f"; its {len(search.unread)} HEIC, AVIF or JPEG XL photographs must be converted first"
        raise IdferError(
            f"{folder}: holds no image ({', '.join(sorted(SUFFIXES))}){others}; give another folder."
        )
    listing.sources.extend(sorted(search.sources))
    listing.videos.extend(sorted(search.videos))
    listing.unread.extend(sorted(search.unread))


class _Search:
    """A walk through a folder.

    Attributes:
        sources: images so far, and what cannot be read.
        videos: videos so far.
        unread: photographs so far that cannot be read.
        links: links to folders that are still to be followed.
    """

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.videos: list[Path] = []
        self.unread: list[Path] = []
        self.links: set[Path] = set()
        self._entered: set[tuple[int, int]] = set()  # device and inode of real folders

    def enter(self, folder: Path) -> None:
        """Search a folder and the real folders below it, unless it was searched already."""
        waiting = [folder]
        while waiting:
            below = waiting.pop()
            self.links.discard(below)
            try:
                status = below.stat()
                if (place := (status.st_dev, status.st_ino)) in self._entered:
                    continue
                self._entered.add(place)
                with os.scandir(below) as entries:
                    waiting.extend(Path(e.path) for e in entries if self._is_folder(e))
            except OSError as error:
                reason = error.strerror or str(error)
                self.sources.append(
                    Source(below, f"{below}: cannot be searched ({reason}); check its rights.")
                )

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        """Whether a folder's entry is a real folder; all else is noted."""
        if entry.name.startswith("."):
            return False
        if entry.is_dir(follow_symlinks=False):
            return True
        path = Path(entry.path)
        suffix = path.suffix.lower()
        reason = ""
        if entry.is_symlink():
            try:
                if entry.is_dir():
                    self.links.add(path)
                    return False
                entry.stat()
            except OSError as error:  # broken, a loop, or not permitted
                reason = error.strerror or str(error)
        if is_video(path):
            self.videos.append(path)
        elif suffix in UNREAD:
            self.unread.append(path)
        elif suffix in SUFFIXES:
            self.sources.append(Source(path))
        elif reason and not suffix:
            self.sources.append(Source(path, f"{path}: is a link that leads nowhere ({reason}); mend it."))
        return False
