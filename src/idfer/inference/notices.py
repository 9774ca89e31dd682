"""What users of a prediction should know, in one line each on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from idfer.attributes.trust import how_sure, warning_of

if TYPE_CHECKING:
    from idfer.inference.inputs import Listing
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


def say_left_out(listing: Listing) -> None:
    """Say how many videos, and photographs that cannot be read, are left out in folders."""
    if videos := listing.videos:
        say(
            f"{len(videos)} video(s) in folders are left out, the first {videos[0]}: a folder stands "
            "for its images; name videos to have them predicted."
        )
    if unread := listing.unread:
        say(
            f"{len(unread)} HEIC, AVIF or JPEG XL file(s) in folders are left out, the first {unread[0]}: "
            "they cannot be read; convert them to JPEG or PNG."
        )
