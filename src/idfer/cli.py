"""The command line: one verb per public function, options from its signature, help from its docstring.

`idfer --help` imports nothing heavy; a verb imports its own module only.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from idfer.errors import IdferError, UsageError, unknown


@dataclass(frozen=True)
class Verb:
    """A function as a command: where it lives, its positional and path arguments, one line of help.

    A name of two words is a function of a family: `benchmark shift` is `benchmark_shift`.
    """

    module: str
    positional: tuple[str, ...]
    paths: tuple[str, ...]
    summary: str


VERBS = {
    "demo": Verb(
        "idfer.experiments.demo", (), ("out",),
        "the main job, offline, on embedded faces: train, compare, report",
    ),
    "synth": Verb(
        "idfer.synthetic.dataset", ("out",), (),
        "draw embedded faces with known identity and expression",
    ),
    "retrieve": Verb(
        "idfer.attributes.table", ("manifest",), ("out",),
        "retrieve each face's identity attributes with CLIP",
    ),
    "fit": Verb(
        "idfer.training.fit", ("manifest",), ("attributes", "out"),
        "train a valence-arousal model",
    ),
    "evaluate": Verb(
        "idfer.reporting.report", ("run", "manifest"), ("attributes", "out"),
        "score a run: accuracy, attribute leakage, report.html",
    ),
    "predict": Verb(
        "idfer.inference.predictor", ("inputs",), ("out",),
        "valence and arousal of every face in photographs (the shipped model is a toy: see its --help)",
    ),
    "benchmark shift": Verb(
        "idfer.experiments.shift", (), ("out", "runs", "plan"),
        "all methods on unseen people under a shifted shortcut",
    ),
    "benchmark mi": Verb(
        "idfer.experiments.mi", (), ("out",),
        "mutual-information estimators against known information",
    ),
    "ablate": Verb(
        "idfer.experiments.ablate", ("grid",), ("out", "runs"),
        "what each part of the method does: a base and its variants",
    ),
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, 1 for unusable data, 2 for wrong usage, 130 when interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except IdferError as error:
        print(f"idfer: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("idfer: interrupted; what was finished is kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `idfer predict ... | head`
        sys.stderr.close()
        return 0


def _run(arguments: list[str]) -> int:
    from idfer.version import __version__

    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_help(__version__))
        return 0
    if arguments[0] in {"-V", "--version"}:
        print(f"idfer {__version__}")
        return 0
    name, rest = _verb(arguments)
    function = function_of(name)
    values = _parse(name, function, rest)
    warnings.filterwarnings("ignore", module="PIL")  # a damaged EXIF block is no news to a user
    result = function(**values)
    if result is not None:
        print(result)
    return 0


def _verb(arguments: list[str]) -> tuple[str, list[str]]:
    """The command's name, of one word or two, and what follows it."""
    for words in (2, 1):
        if (name := " ".join(arguments[:words])) in VERBS:
            return name, arguments[words:]
    family = [name for name in VERBS if name.startswith(f"{arguments[0]} ")]
    given = " ".join(arguments[: 2 if family else 1])
    raise unknown("command", given, family or list(VERBS), "See `idfer --help`.")


def function_of(name: str) -> Any:
    """The function behind a command; imports its module."""
    return getattr(import_module(VERBS[name].module), name.replace(" ", "_"))


def _help(version: str) -> str:
    verbs = "\n".join(f"  {name:<17}{verb.summary}" for name, verb in VERBS.items())
    return f"""idfer {version}: identity-invariant facial expression recognition

usage: idfer COMMAND [options]      idfer COMMAND --help for its options

{verbs}

Start with `idfer demo`. Valence and arousal are *perceived* affect in [-1, 1], not what a person feels.
The shipped model `synthetic-tiny` shows the machinery and is not fit for real photographs."""


def _parse(name: str, function: Any, arguments: list[str]) -> dict[str, Any]:
    """Arguments of one verb: its own options, or `--config file.yaml` with options that override it."""
    from jsonargparse import ArgumentParser

    verb = VERBS[name]
    notes = _notes(function)
    parser = ArgumentParser(prog=f"idfer {name}", description=notes.pop(""), exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file with any of these options")
    for argument in verb.positional:
        many = argument == "inputs"
        parser.add_argument(argument, type=str, nargs="+" if many else None, help=notes[argument])
    for argument in verb.paths:
        flags = ["-o", "--out"] if argument == "out" else [f"--{argument}"]
        parser.add_argument(*flags, type=str, default=None, help=notes[argument])
    parser.add_function_arguments(function, as_group=False, skip={*verb.positional, *verb.paths})
    try:
        parsed = parser.parse_args([_underscored(a) for a in arguments])
    except Exception as error:
        raise UsageError(f"{' '.join(str(error).split())} See `idfer {name} --help`.") from error
    values = parsed.as_dict()
    values.pop("config", None)
    return {k: v for k, v in values.items() if not (k in verb.paths and v is None)}


def _underscored(argument: str) -> str:
    """`--per-identity 3` means `--per_identity 3`: people type both."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _notes(function: Any) -> dict[str, str]:
    """Help per parameter, and under "" the text above `Args:`, from a google-style docstring."""
    from docstring_parser import parse

    doc = parse(function.__doc__)
    notes = {p.arg_name: (p.description or "").replace("\n", " ") for p in doc.params}
    return notes | {"": "\n\n".join(t for t in (doc.short_description, doc.long_description) if t)}


if __name__ == "__main__":
    sys.exit(main())
