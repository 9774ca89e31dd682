"""The command line: one verb per public function, options from its signature, help from its docstring.

`idfer --help` imports nothing heavy; a verb imports its own module only.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
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
        "idfer.synthetic.dataset", ("out",), ("assets",),
        "draw embedded faces with known identity and expression",
    ),
    "assets makehuman": Verb(
        "idfer.synthetic.assets", ("checkout",), ("out",),
        "the head of MakeHuman (CC0) as a file for `synth --engine mesh`",
    ),
    "assets ict": Verb(
        "idfer.synthetic.assets", ("checkout",), ("out",),
        "the head of ICT FaceKit (MIT) as a file for `synth --engine mesh`",
    ),
    "manifest": Verb(
        "idfer.data.readers.reading", ("name", "root"), ("out",),
        "make a manifest of a data set on the disk, or of any table",
    ),
    "check": Verb(
        "idfer.evaluation.data_checks", ("manifest",), ("attributes",),
        "look a manifest over: shared people and pictures, labels, files",
    ),
    "split": Verb(
        "idfer.data.split", ("manifest",), ("out",),
        "deal a manifest into folds that share nobody",
    ),
    "retrieve": Verb(
        "idfer.attributes.table", ("manifest",), ("out",),
        "retrieve each face's identity attributes with CLIP",
    ),
    "crop": Verb(
        "idfer.data.crop", ("manifest",), ("out",),
        "cut out the faces of a manifest once, aligned if asked, as files",
    ),
    "fit": Verb(
        "idfer.training.fit", ("manifest",), ("attributes", "out"),
        "train a valence-arousal model",
    ),
    "evaluate": Verb(
        "idfer.reporting.report", ("run", "manifest"), ("attributes", "out"),
        "score a run: accuracy, attribute leakage, report.html",
    ),
    "audit": Verb(
        "idfer.reporting.audit", ("inputs",),
        ("predictions", "attributes", "labels", "features", "model", "data", "subject", "out"),
        "what any model, its predictions or a data set tell about people, and whom they fail",
    ),
    "decode": Verb(
        "idfer.reporting.decode", ("run", "inputs"), ("out", "decoder", "control"),
        "what a run's features show of faces, drawn back as pictures",
    ),
    "decode fit": Verb(
        "idfer.decoding.fit", ("run", "manifest"), ("attributes", "identity", "out"),
        "train a decoder that draws faces from a run's features",
    ),
    "predict": Verb(
        "idfer.inference.predictor", ("inputs",), ("out",),
        "valence and arousal of every face in images and videos (default: synthetic-base, of rendered faces)",
    ),
    "export": Verb(
        "idfer.exporting", ("run",), ("out",),
        "a run as one ONNX file, checked against the network",
    ),
    "benchmark shift": Verb(
        "idfer.experiments.shift", (), ("out", "runs", "plan", "settings"),
        "all methods on unseen people under a shifted shortcut",
    ),
    "benchmark compare": Verb(
        "idfer.experiments.compare", (), ("manifest", "attributes", "out", "runs", "plan"),
        "methods on your own manifest, over folds of people, searched alike",
    ),
    "benchmark decode": Verb(
        "idfer.experiments.decode", (), ("out", "runs", "settings"),
        "faces drawn back from features, against what they should be",
    ),
    "benchmark mi": Verb(
        "idfer.experiments.mi", (), ("out",),
        "mutual-information estimators against known information",
    ),
    "ablate": Verb(
        "idfer.experiments.ablate", ("grid",), ("manifest", "attributes", "out", "runs"),
        "what each part of the method does: a base and its variants",
    ),
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, 1 (unusable data), 2 (wrong use), 3 (a gate says no), 130 (interrupted)."""
    from idfer.standard_output import watched

    arguments = list(sys.argv[1:] if argv is None else argv)
    code = 0
    with watched() as output:
        try:
            try:
                code = _exit_code(arguments)
            except SystemExit:  # a command's --help, whose failing writes argparse hides
                output.flush()
                if output.failure is None:
                    raise
            output.flush()  # here, where a failure can still be told in one line
        except OSError as error:
            if error is not output.failure:
                raise
    if output.failure is None:
        return code
    output.discard()
    if isinstance(output.failure, BrokenPipeError):  # `idfer predict ... | head`
        return code
    _complain(
        f"cannot write to the standard output: {output.failure.strerror or output.failure}. Free some space "
        "or send it elsewhere; files that were written are kept."
    )
    return 1


def _exit_code(arguments: list[str]) -> int:
    """Run a command and tell in one line what ended it early."""
    try:
        return _run(arguments)
    except IdferError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted; what was finished is kept.")
        return 130
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        _complain(
            "out of memory; what was finished is kept. Ask for less at once (a smaller batch, size or "
            "number of faces) or use a machine with more memory."
        )
        return 1


def _complain(message: str) -> None:
    with suppress(OSError):  # standard error may be as full as standard output
        if sys.stderr is not None:
            print(f"idfer: {message}", file=sys.stderr)


def _out_of_memory(error: Exception) -> bool:
    """Whether it is Python's or numpy's MemoryError, or what torch raises on a CPU or a GPU instead."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: can't allocate memory" in str(error)
    )


def _run(arguments: list[str]) -> int:
    """Run a command; what it returns may say with which code the command ends."""
    from idfer.version import __version__

    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_help(__version__))
        return 0
    if arguments[0] in {"-V", "--version"}:
        print(f"idfer {__version__}")
        return 0
    if (
        arguments[0] not in VERBS
        and (family := _family(arguments[0]))
        and arguments[1:2] in (["-h"], ["--help"])
    ):
        print(f"usage: idfer {arguments[0]} COMMAND [options]\n\n{_listed(family)}")
        return 0
    from idfer.options import parse
    from idfer.waiting import wait_asleep

    wait_asleep()
    name, rest = _verb(arguments)
    function = function_of(name)
    values = parse(name, function, VERBS[name].positional, VERBS[name].paths, rest)
    warnings.filterwarnings("ignore", module="PIL")  # a damaged EXIF block is no news to a user
    result = function(**values)
    if result is not None:
        print(result)
    return int(getattr(result, "exit_code", 0))


def _verb(arguments: list[str]) -> tuple[str, list[str]]:
    """The command's name, of one word or two, and what follows it."""
    for words in (2, 1):
        if (name := " ".join(arguments[:words])) in VERBS:
            return name, arguments[words:]
    if not (family := _family(arguments[0])):
        raise unknown("command", arguments[0], list(VERBS), "See `idfer --help`.")
    if len(arguments) == 1:
        raise UsageError(
            f"{arguments[0]!r} is a family of commands: {', '.join(family)}. "
            f"See `idfer {arguments[0]} --help`."
        )
    given = " ".join(arguments[:2])
    raise unknown("command", given, family, f"See `idfer {arguments[0]} --help`.")


def _family(word: str) -> list[str]:
    """The commands of two words that begin with this one."""
    return [name for name in VERBS if name.startswith(f"{word} ")]


def function_of(name: str) -> Any:
    """The function behind a command; imports its module."""
    return getattr(import_module(VERBS[name].module), name.replace(" ", "_"))


def _help(version: str) -> str:
    return f"""idfer {version}: identity-invariant facial expression recognition

usage: idfer COMMAND [options]      idfer COMMAND --help for its options

{_listed(list(VERBS))}

Start with `idfer demo`. Valence and arousal are *perceived* affect in [-1, 1], not what a person feels.
No photograph taught the shipped models: `synthetic-base` reads some, `synthetic-tiny` is for the demo."""


def _listed(names: list[str]) -> str:
    """One line per command."""
    return "\n".join(f"  {name:<19}{VERBS[name].summary}" for name in names)


if __name__ == "__main__":
    sys.exit(main())
