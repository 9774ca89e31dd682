"""What users of a prediction should know, in one line each on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from idfer.attributes.trust import how_sure, warning_of

if TYPE_CHECKING:
    from idfer.inference.stream import Stream


def say(message: str) -> None:
    """Print one line on stderr, so that results on stdout stay clean."""
    print(f"idfer: {message}", file=sys.stderr)


def builtin_warning(clip: str) -> str:
    """What to say of a CLIP that does not know photographs; "" of any other."""
    return warning_of(clip, drawn=False)


def say_how_sure(stream: Stream, clip: str | None) -> None:
    """Say which CLIP inferred attributes, where one did, and how sure it was of them."""
    if clip is not None and stream.reader is not None and stream.certainty is not None:
        say(how_sure(clip, stream.reader.levels, stream.certainty))


def say_left_out(videos: Sequence[Path]) -> None:
    """Say how many videos in folders are left out."""
    if videos:
        say(
            f"{len(videos)} video(s) in folders are left out, the first {videos[0]}: a folder stands "
            "for its images; name videos to have them predicted."
        )
