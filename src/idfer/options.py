"""The arguments of one command: typed ones over those of a configuration file over a function's defaults."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from idfer.errors import UsageError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


def parse(
    name: str, function: Any, positional: Sequence[str], paths: Sequence[str], arguments: Sequence[str]
) -> dict[str, Any]:
    """Read the arguments of one command: what is typed, over what `--config FILE` gives, over defaults.

    Args:
        name: the command as the user knows it.
        function: what it runs; options come from its signature, help from its docstring. One that takes text
            and is typed gets text, also where YAML sees nothing in it: `~`, `null`, `#1.mp4`.
        positional: parameters that are given without an option's name; `inputs` takes several.
        paths: options that are paths on the command line, whatever else the function takes.
        arguments: what follows the command's name.

    Returns:
        The function's arguments by name.

    Raises:
        UsageError: an unknown option, a value of another type, something missing.
        IdferError: a configuration file that cannot be read.
        SystemExit: `--help` or `--print_config` was asked for and printed.
    """
    from jsonargparse import ArgumentParser

    notes = notes_of(function)
    parameters = signature(function).parameters
    files, rest = _config_files(_with_values(_with_underscores(arguments, parameters)))
    parser = ArgumentParser(
        prog=f"idfer {name}", description=notes.pop(""), exit_on_error=False, allow_abbrev=False
    )  # no abbreviations: `--conf FILE` would be read by jsonargparse, without the bounds of ours
    parser.add_argument("--config", action="config", help="YAML file with any of these options")
    for argument in paths:
        flags = ["-o", "--out"] if argument == "out" else [f"--{argument}"]
        several = {"nargs": "+"} if "Sequence[" in str(parameters[argument].annotation) else {}
        parser.add_argument(*flags, type=str, default=None, help=notes[argument], **several)
    parser.add_function_arguments(function, as_group=False, skip={*positional, *paths})
    configured = {
        k: v for file in files for k, v in _read_config(file, parser, positional, parameters).items()
    }
    parser.set_defaults({k: v for k, v in configured.items() if k not in positional})
    for argument in positional:
        count = _count(parameters[argument], configured)
        parser.add_argument(argument, type=str, help=notes[argument], **count)
    try:
        parsed = parser.parse_args(rest)
    except Exception as error:
        raise UsageError(f"{_one_line(error)} See `idfer {name} --help`.") from error
    values = parsed.as_dict()
    values.pop("config", None)
    for argument, text in _typed(rest, parameters).items():
        if values[argument] is None and "str" in str(parameters[argument].annotation).split(" | "):
            values[argument] = text
    for argument in paths:
        if values.get(argument) is None and parameters[argument].default is Parameter.empty:
            flag = "-o" if argument == "out" else f"--{argument}"
            raise UsageError(f"give {flag} {argument.upper()}: {notes[argument]} See `idfer {name} --help`.")
    return {k: v for k, v in values.items() if not (k in paths and v is None)}


def _count(parameter: Parameter, configured: Mapping[str, Any]) -> dict[str, Any]:
    """How often a positional argument is given: not at all where a file or the function has a default."""
    many = parameter.name == "inputs"
    if parameter.name in configured:
        return {"nargs": "*" if many else "?", "default": configured[parameter.name]}
    if parameter.default is not Parameter.empty:
        return {"nargs": "*" if many else "?", "default": parameter.default}
    return {"nargs": "+" if many else None}


def _with_underscores(arguments: Sequence[str], known: Iterable[str]) -> list[str]:
    """The arguments with options spelled as they are known; values, and all after `--`, are as typed."""
    names = {*known, "config", "print_config"}
    end = arguments.index("--") if "--" in arguments else len(arguments)
    spelled = [underscored(argument) for argument in arguments[:end]]
    options = [
        new if re.split(r"[.=]", new[2:])[0] in names else old
        for old, new in zip(arguments, spelled, strict=False)
    ]
    return [*options, *arguments[end:]]


def _with_values(arguments: Sequence[str]) -> list[str]:
    """`--range -10,10` as `--range=-10,10`: argparse takes numbers with a comma for an option."""
    joined: list[str] = []
    for argument in arguments:
        numbers = re.fullmatch(r"-[\d.]+(,-?[\d.]+)+", argument)
        if numbers and joined and re.fullmatch(r"--\w+", joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _typed(arguments: Sequence[str], known: Iterable[str]) -> dict[str, str]:
    """The last value typed for each option, as it was typed; of options with several values the first."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    typed: dict[str, str] = {}
    for argument, after in zip(arguments[:end], [*arguments[1:end], ""], strict=False):
        name, equals, value = argument.partition("=")
        if name.startswith("--") and name[2:] in known:
            typed[name[2:]] = value if equals else after
    return typed


def underscored(argument: str) -> str:
    """`--per-identity 3` means `--per_identity 3`: people type both."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _config_files(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The files that `--config FILE` or `--config=FILE` name, and all other arguments."""
    files: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        name, equals, value = argument.partition("=")
        if argument == "--":
            rest += [argument, *remaining]
        elif name != "--config":
            rest.append(argument)
        elif equals:
            files.append(value)
        elif (file := next(remaining, None)) is not None:
            files.append(file)
        else:
            raise UsageError("--config: give the path of a YAML file after it.")
    return files, rest


def _read_config(
    file: str, parser: ArgumentParser, positional: Sequence[str], parameters: Mapping[str, Parameter]
) -> dict[str, Any]:
    """The options of a configuration file, each checked against its type."""
    from idfer.config_file import read_options

    configured = read_options(file, list(parameters))
    for name, value in configured.items():
        if name in positional:
            if name == "inputs" and isinstance(value, str):
                configured[name] = value = [value]
            texts = value if name == "inputs" and isinstance(value, list) else [value]
            if not all(isinstance(text, str) for text in texts):
                raise UsageError(f"{file}: {name} is {value!r}; it must be a path.")
        elif value is None and parameters[name].default is not None:
            raise UsageError(f"{file}: {name} has no value; give one or leave the line out.")
        else:
            try:
                parser.parse_object({name: value}, defaults=False)
            except Exception as error:
                raise UsageError(f"{file}: {_one_line(error)}") from error
    return configured


def _one_line(error: Exception) -> str:
    """The message of an error without its line breaks, ended by a full stop."""
    message = " ".join(str(error).split())
    return message if message.endswith((".", "!", "?")) else f"{message}."


def notes_of(function: Any) -> dict[str, str]:
    """Help per parameter, and under "" the text above `Args:`, from a google-style docstring."""
    from docstring_parser import parse

    doc = parse(function.__doc__)
    notes = {p.arg_name: (p.description or "").replace("\n", " ") for p in doc.params}
    return notes | {"": "\n\n".join(t for t in (doc.short_description, doc.long_description) if t)}
