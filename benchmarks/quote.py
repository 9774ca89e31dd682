"""Numbers in Markdown, taken from results: `python benchmarks/quote.py [--check] [FILE.md ...]`.

A page marks what is quoted; this script writes it, and with `--check` says what no longer agrees:

    idfer reaches <!-- quote {shift.json summary.idfer.reversed_ccc:.3c} -->.755<!-- /quote --> on reversed

A mark holds a template: `{FILE PATH:FORMAT}` is filled in, the rest stays. It may span lines, so a whole
table can be one mark. FILE lies in benchmarks/results. PATH goes through the JSON:

    summary.erm.drift                     by key; "in quotes" where a key has a dot, space or bracket
    rows[0]                               by position
    runner_up[measure=drift].relative     the one row in which this holds (several with commas between)
    max(rows[estimator=infonce].estimate) of all such rows: max, min, mean or count
    summary.idfer.drift / summary.erm.drift       also -, +, *

A mark that begins with `quote?` may be written before there is anything to quote: as long as a FILE of it
does not exist it says "not reported yet", and what it will say, pictures too, waits in the template.

FORMAT is Python's, and `c` is `f` without the zero before the point, as correlations are written here; `%`
has a space before it. `s` is for text, `y` says yes or no. A list of two numbers is an interval, [low, high].

Without files: README.md and docs/*.md. Exit code 1 where `--check` finds a difference.
"""

from __future__ import annotations

import argparse
import json
import operator
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
_MARK = re.compile(r"(<!-- quote(?P<template>.*?)-->)(?P<said>.*?)(?P<end><!-- /quote -->)", re.DOTALL)
_OPEN, _CLOSE = re.compile(r"<!-- quote\b"), re.compile(r"<!-- /quote -->")
_FIELD = re.compile(r"\{(?P<file>[\w-]+\.json) (?P<query>.*):(?P<format>[^:{}\"]*?)\}")
_STEP = re.compile(r'"(?P<quoted>[^"]*)"|(?P<key>[^.\[\]"\s]+)|\[(?P<chosen>[^\]]*)\]|(?P<dot>\.)')
_OPERAND = r'(?:"[^"]*"|\[[^\]]*\]|[^\s"\[])+'
_SUM = re.compile(rf"^(?P<first>{_OPERAND})(?: (?P<sign>[-+*/]) (?P<second>{_OPERAND}))?$")
_OF_ALL = re.compile(r"^(?P<name>max|min|mean|count)\((?P<path>.*)\)$")
_SIGNS: dict[str, Callable[[float, float], float]] = {
    "-": operator.sub, "+": operator.add, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip
_ALL: dict[str, Callable[[list[Any]], float]] = {"max": max, "min": min, "mean": fmean, "count": len}


class QuoteError(Exception):
    """A mark that cannot be filled in."""


def filled(template: str, results: Path = RESULTS) -> str:
    """A template with its fields filled in.

    Raises:
        QuoteError: a field without a value; the message names it and says why.
    """
    return _each_field(template, lambda f: _field(f["file"], f["query"], f["format"], results))


def quoted(text: str, results: Path = RESULTS) -> tuple[str, list[tuple[int, str, str]]]:
    """A page with its quotes renewed, and what changed.

    Returns:
        The text; line number, what was said and what is so, of each difference.

    Raises:
        QuoteError: a mark that is not closed or cannot be filled in; the message begins with its line.
    """
    changes = []

    def renewed(mark: re.Match[str]) -> str:
        line = text.count("\n", 0, mark.start()) + 1
        try:
            template = mark["template"].removeprefix("?")
            waits = template != mark["template"] and not _reported(template, results)
            value = _waiting(template) if waits else filled(template, results)
        except QuoteError as error:
            raise QuoteError(f"{line}: {error}") from error
        value = f"\n{value.strip()}\n\n" if "\n" in value else value.strip()
        if value != mark["said"]:
            changes.append((line, mark["said"].strip(), value.strip()))
        return mark[1] + value + mark["end"]

    whole = list(_MARK.finditer(text))
    opened, closed = len(_OPEN.findall(text)), len(_CLOSE.findall(text))
    if not opened == closed == len(whole):
        raise QuoteError(f"1: {opened} marks are opened and {closed} closed; each needs its <!-- /quote -->.")
    return _MARK.sub(renewed, text), changes


def _reported(template: str, results: Path) -> bool:
    """Whether there is every file that a template quotes; it must quote one, and each field be one."""
    files: set[str] = set()

    def name(field: re.Match[str]) -> str:
        files.add(field["file"])
        return ""

    _each_field(template, name)
    if not files:
        raise QuoteError("a mark that waits for results must quote some.")
    return all((results / file).is_file() for file in files)


def _waiting(template: str) -> str:
    """What stands where there is nothing to quote yet: words, or a paragraph."""
    return "**Not reported yet.**\n" if "\n" in template.strip() else "not reported yet"


def _each_field(template: str, value: Callable[[re.Match[str]], str]) -> str:
    """Every {...} replaced; braces do not nest."""

    def one(part: re.Match[str]) -> str:
        field = _FIELD.fullmatch(part[0])
        if field is None:
            raise QuoteError(f"{part[0]} is no field; wanted {{FILE.json PATH:FORMAT}}.")
        return value(field)

    return re.sub(r"\{[^{}]*\}", one, template)


def _field(file: str, query: str, form: str, results: Path) -> str:
    where = f"{{{file} {query}:{form}}}"
    asked = _SUM.match(query)
    if asked is None:
        raise QuoteError(f"{where}: no path can be read from {query!r}.")
    try:
        content = _content(results / file)
        value = _value(content, asked["first"])
        if asked["sign"]:
            value = _SIGNS[asked["sign"]](value, _value(content, asked["second"]))
        return _text(value, form)
    except (OSError, LookupError, TypeError, ValueError, ZeroDivisionError) as error:
        raise QuoteError(f"{where}: {error}") from error


@cache
def _content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _value(content: Any, path: str) -> Any:
    """What a path leads to."""
    if (of_all := _OF_ALL.match(path)) is None:
        (value,) = _walk(content, path, single=True)
        return value
    return _ALL[of_all["name"]](_walk(content, of_all["path"], single=False))


def _walk(content: Any, path: str, single: bool) -> list[Any]:
    """All values that a path leads to; one where rows may not be many."""
    here, at = [content], 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise LookupError(f"cannot read the path from {path[at:]!r} on")
        at = step.end()
        if step["dot"]:
            continue
        if step["chosen"] is not None:
            here = [row for value in here for row in _chosen(value, step["chosen"])]
            if single and len(here) != 1:
                raise LookupError(f"[{step['chosen']}] holds for {len(here)} rows, and one is wanted")
            continue
        key = step["key"] if step["quoted"] is None else step["quoted"]
        for value in here:
            if not isinstance(value, dict) or key not in value:
                near = ", ".join(map(str, value)) if isinstance(value, dict) else type(value).__name__
                raise LookupError(f"there is no {key!r} in {near[:200]}")
        here = [value[key] for value in here]
    if not here:
        raise LookupError("no row is left")
    return here


def _chosen(rows: Any, condition: str) -> list[Any]:
    """Rows of a list, by position or by what they hold."""
    if not isinstance(rows, list):
        raise LookupError(f"[{condition}] asks for rows, and there is {type(rows).__name__}")
    if "=" not in condition:
        return [rows[int(condition)]]
    wanted = dict(part.strip().split("=", 1) for part in condition.split(","))
    return [row for row in rows if all(_same(row.get(key), text) for key, text in wanted.items())]


def _same(value: Any, text: str) -> bool:
    if isinstance(value, bool):
        return str(value) == text
    try:
        return bool(float(value) == float(text))
    except (TypeError, ValueError):
        return str(value) == text


def _text(value: Any, form: str) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_text(one, form) for one in value) + "]"
    if form == "y" and (value is None or isinstance(value, bool)):
        return {True: "yes", False: "no", None: "not measured"}[value]
    if form == "s" and isinstance(value, str):
        return value.replace("|", "\\|")  # it may stand in a table
    if isinstance(value, str) or value is None:
        raise TypeError(f"is {value!r}, which is no number")
    bare = form.endswith("c")
    text = format(value, f"{form[:-1]}f" if bare else form)
    if bare:
        text = re.sub(r"^([-+]?)0\.", r"\1.", text)
    return text.replace("%", " %")


def main(arguments: list[str] | None = None) -> int:
    """Renew or check; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true", help="change nothing; say what does not agree")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    code = 0
    for file in given.files or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        before = file.read_text(encoding="utf-8")
        try:
            after, changes = quoted(before, given.results)
        except QuoteError as error:
            print(f"{file}:{error}", file=sys.stderr)
            code = 1
            continue
        for line, said, value in changes:
            print(f"{file}:{line}: says {said!r}, the results {value!r}")
        if given.check:
            code = code or int(bool(changes))
        elif changes:
            file.write_text(after, encoding="utf-8")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
