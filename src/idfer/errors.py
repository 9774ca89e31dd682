"""The two errors a user meets; both print as one line that says what, why and what to do."""

from __future__ import annotations


class IdferError(Exception):
    """Bad data: a file, row or value that cannot be used. The command line exits with 1."""

    exit_code = 1


class UsageError(IdferError):
    """A wrong request: an unknown name, option or combination. The command line exits with 2."""

    exit_code = 2


def unknown(kind: str, name: str, known: list[str], hint: str = "") -> UsageError:
    """A `UsageError` for a name that is not among the known ones, with the nearest suggestion.

    Args:
        kind: what was looked up, e.g. "attribute".
        name: what the user wrote.
        known: the names that exist.
        hint: an extra sentence on what to do.
    """
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return UsageError(
        f"unknown {kind} {name!r}.{guess} Known: {listed or 'none'}.{' ' + hint if hint else ''}"
    )
