"""The ledger: every reported run of a benchmark, so that seeds that were looked at are not reported again.

A seed tells something new once. Whoever has seen its numbers may have chosen with them in view, so a second
report on it has to say why. The ledger is a Markdown file, `history.md` beside the results: a section per
report, oldest first, `## shift-2`, with lines `- key: value`; text between them is for readers.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from idfer.errors import IdferError, UsageError
from idfer.files import atomic
from idfer.version import __version__

LEDGER = "history.md"
TITLE = "# Reported runs"
REPORT, DEVELOPMENT, TINY = "report", "development, not a report", "tiny: shows that it works, not a report"
_KEYS = ("date", "commit", "command", "seeds", "tuned on", "headline", "changed since", "source", "digest")
_NEWER = ("source", "digest")
_NEEDED = ("command", "seeds")


@dataclass(frozen=True)
class Entry:
    """A reported run.

    Attributes:
        name: of the entry: the benchmark's file and a running number, "shift-2".
        date: when, YYYY-MM-DD (UTC).
        commit: of the code that ran.
        command: that gives the numbers.
        seeds: reported.
        tuned_on: seeds that settings were chosen on.
        headline: the main numbers.
        changed: what changed since the report before, and why a seed is reported again where one is.
        source: hashes of the source that its parts were computed by; "" in entries older than this line.
        digest: of every number of the report; "" likewise.
    """

    name: str
    date: str
    commit: str
    command: str
    seeds: tuple[int, ...]
    tuned_on: tuple[int, ...]
    headline: str
    changed: str
    source: str = ""
    digest: str = ""

    @property
    def benchmark(self) -> str:
        """The results' name: `shift` of `shift-2`."""
        return self.name.rpartition("-")[0]

    def text(self) -> str:
        """Its section."""
        seeds, tuned = (", ".join(map(str, numbers)) for numbers in (self.seeds, self.tuned_on))
        values = (
            self.date, self.commit, f"`{self.command}`", seeds, tuned, self.headline, self.changed,
            self.source, self.digest,
        )  # fmt: skip
        of = {key: " ".join(value.split()) for key, value in zip(_KEYS, values, strict=True)}
        lines = [f"- {key}: {value}" for key, value in of.items() if value or key not in _NEWER]
        return "\n".join([f"## {self.name}", "", *lines]) + "\n"


@dataclass(frozen=True)
class Ledger:
    """The reported runs in one folder.

    Attributes:
        path: of the file, which may not exist yet.
        entries: oldest first.
    """

    path: Path
    entries: tuple[Entry, ...]

    @classmethod
    def beside(cls, results: Path) -> Ledger:
        """The ledger of a folder of results; empty where there is none.

        Raises:
            IdferError: it cannot be read, or an entry lacks its command or seeds.
        """
        path = results / LEDGER
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls(path, ())
        except (OSError, ValueError) as error:
            raise IdferError(f"{path}: cannot be read ({error}); restore it from the repository.") from error
        sections = text.split("\n## ")[1:]
        return cls(path, tuple(_read(path, section) for section in sections))

    def of(self, benchmark: str) -> list[Entry]:
        """Reports of one benchmark, oldest first."""
        return [entry for entry in self.entries if entry.benchmark == benchmark]

    def check_allowed(
        self,
        kind: str,
        benchmark: str,
        seeds: Sequence[int],
        command: str,
        again: str,
        tuned: Sequence[int] = (),
    ) -> None:
        """Refuse a report on seeds that are not fresh, and what is no report where one stands.

        Raises:
            UsageError: as `check_fresh` and `check_no_report`.
        """
        if kind == REPORT:
            self.check_fresh(benchmark, seeds, command, again, tuned)
        else:
            check_no_report(self.path.parent / f"{benchmark}.json")

    def check_fresh(
        self, benchmark: str, seeds: Sequence[int], command: str, again: str, tuned: Sequence[int] = ()
    ) -> None:
        """Refuse seeds that this benchmark has reported or tuned on before, unless it is told why.

        And refuse to tune on seeds that any benchmark has reported: their shifted tests were seen.

        The very command and seeds of the last report may run again: `enter` finds out whether they say the
        same.

        Raises:
            UsageError: a seed was reported or tuned on before; the message names the report.
        """
        if again or self._repeats(benchmark, command, seeds):
            return
        for entry in reversed(self.of(benchmark)):
            for what, looked_at in (("reported", entry.seeds), ("tuned on", entry.tuned_on)):
                if used := sorted(set(seeds) & set(looked_at)):
                    raise UsageError(
                        f"seed {used[0]} was {what} before ({entry.name} in {self.path}), so this would be "
                        'no fresh evidence: choose other --seeds, say why with --again "reason", or look at '
                        "it as --development true."
                    )
        for entry in reversed(self.entries):
            if used := sorted(set(tuned) & set(entry.seeds)):
                raise UsageError(
                    f"seed {used[0]} was reported before ({entry.name} in {self.path}), so its tests were "
                    'seen: choose other --tune_seeds, say why with --again "reason", or look at it as '
                    "--development true."
                )

    def _repeats(self, benchmark: str, command: str, seeds: Sequence[int]) -> bool:
        """Whether the last report was this command on these seeds; some stand in a file that it names."""
        last = self.of(benchmark)[-1:]
        return any((entry.command, entry.seeds) == (command, tuple(seeds)) for entry in last)

    def enter(
        self,
        benchmark: str,
        command: str,
        seeds: Sequence[int],
        tuned_on: Sequence[int],
        headline: str,
        again: str,
        numbers: Mapping[Any, Any] | None = None,
        source: str = "",
    ) -> Entry:
        """Write a report down; one that the ledger's last is already (command and numbers) is not repeated.

        Args:
            benchmark: its results' name.
            command: that gives the numbers.
            seeds: reported.
            tuned_on: seeds that settings were chosen on.
            headline: the main numbers, for people.
            again: why it is reported again; "" for no reason.
            numbers: all of them, as JSON takes them: two reports are the same where every one is.
            source: hashes of the source behind them, in words.

        Raises:
            UsageError: the last report's command gave other numbers and nobody said why.
            IdferError: the file cannot be written.
        """
        before = self.of(benchmark)
        digest = digest_of(numbers) if numbers is not None else ""
        repeats = self._repeats(benchmark, command, seeds)
        same = repeats and before[-1].headline == headline
        if same and before[-1].digest in ("", digest):
            return before[-1]
        if repeats and not again:
            said = "the headline is the same, others behind it are not" if same else headline
            raise UsageError(
                f"the command of {before[-1].name} ({self.path}) gives other numbers now: {said}. Nothing "
                'was written and every trial is kept; to report them, say what changed with --again "reason".'
            )
        since = changes_since(before[-1] if before else None)
        entry = Entry(
            f"{benchmark}-{len(before) + 1}", today(), commit_of_code(), command, tuple(seeds),
            tuple(tuned_on), headline, f"reported again: {again}; {since}" if again else since,
            source, digest,
        )  # fmt: skip
        text = self.path.read_text(encoding="utf-8").rstrip() if self.path.is_file() else TITLE
        with atomic(self.path) as temporary:
            temporary.write_text(f"{text}\n\n{entry.text()}", encoding="utf-8")
        return entry


def kind_of(size: str, development: bool) -> str:
    """What a run of a benchmark is: a report, development, or tiny."""
    return TINY if size == "tiny" else DEVELOPMENT if development else REPORT


def check_no_report(path: Path) -> None:
    """What is no report overwrites none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if isinstance(found, dict) and (named := found.get("ledger")):
        name = named if isinstance(named, str) else ", ".join(named)  # an overview is of several reports
        raise UsageError(f"{path} is a report ({name}) and this run is none; choose another folder for it.")


def standing(content: Mapping[str, Any]) -> str:
    """Whether results are a report, and which, in Markdown: from their `ledger` and their `kind`."""
    if content["ledger"]:
        return f"Report {content['ledger']} of [history.md]({LEDGER})."
    return f"**{content['kind']}**."


def today() -> str:
    """YYYY-MM-DD, UTC."""
    return datetime.now(UTC).date().isoformat()


def digest_of(numbers: Mapping[Any, Any]) -> str:
    """12 hex digits that stand for all numbers of a report, to six digits after the point."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): plain(of) for key, of in value.items()}
        return f"{round(value, 6) + 0.0:.6f}" if isinstance(value, float) else value

    return hashlib.sha256(json.dumps(plain(numbers), sort_keys=True).encode()).hexdigest()[:12]


def commit_of_code() -> str:
    """The commit that this code is of, with a word where files differ from it; else its version."""
    head = _git("rev-parse", "--short", "HEAD")
    if not head or not _git("ls-files", "--", __file__):  # installed inside somebody else's repository
        return f"idfer {__version__}, not from a repository"
    return head + (" with changes not committed" if _git("status", "--porcelain", "--", ".") else "")


def changes_since(entry: Entry | None) -> str:
    """What changed since a report, as far as the repository tells."""
    if entry is None:
        return "the first report of this benchmark"
    start = entry.commit.split()[0]
    count = _git("rev-list", "--count", f"{start}..HEAD", "--", ".")
    if not count:
        return f"not told; the report before is {entry.name}"
    return f"{count} commits to src/idfer since {entry.name} (`git log {start}.. -- src/idfer`)"


def _git(*words: str) -> str:
    """What git says of the folder this package lies in; "" where it says nothing."""
    command = ["git", "-C", str(Path(__file__).parent.parent), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _read(path: Path, section: str) -> Entry:
    name, *lines = section.splitlines()
    values: Mapping[str, str] = {
        key: value
        for line in lines
        if line.startswith("- ")
        for key, _, value in [line[2:].partition(": ")]
        if key in _KEYS
    }
    for key in _NEEDED:
        if not values.get(key):
            raise IdferError(f"{path}: {name.strip()} has no line `- {key}: ...`; write it again.")
    return Entry(
        name.strip(),
        values.get("date", ""),
        values.get("commit", ""),
        values["command"].strip("`"),
        _seeds(path, name, values["seeds"]),
        _seeds(path, name, values.get("tuned on", "")),
        values.get("headline", ""),
        values.get("changed since", ""),
        values.get("source", ""),
        values.get("digest", ""),
    )


def _seeds(path: Path, name: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise IdferError(f"{path}: {name.strip()} names seeds {text!r}; write whole numbers, 11, 12, 13.")
    return tuple(map(int, parts))
