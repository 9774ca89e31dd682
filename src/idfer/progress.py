"""One progress bar for all long work, on stderr so that results on stdout stay clean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")


class Bar(Protocol):
    """What long work sees of its progress bar."""

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """Move on by `steps` and show `note` beside the bar."""


@contextmanager
def bar(description: str, total: int | None, enabled: bool = True) -> Iterator[Bar]:
    """A progress bar of `total` steps; call what it yields to move it.

    Args:
        description: what is going on, in a few words.
        total: number of steps, None where it is not known ahead.
        enabled: False shows nothing (the `--progress false` of every command).
    """
    if not enabled:
        yield lambda steps=1, note="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task(description, total=total, note="")

        def advance(steps: int = 1, note: str = "") -> None:
            shown.update(task, advance=steps, note=note)

        yield advance


def track(items: Iterable[T], description: str, total: int, enabled: bool = True) -> Iterator[T]:
    """Yield from `items` while a progress bar follows."""
    with bar(description, total, enabled) as advance:
        for item in items:
            yield item
            advance()
