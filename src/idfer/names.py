"""Names as people type them: lists of names, and classes by `module:Class`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from idfer.errors import UsageError


def split_names(values: Sequence[str] | str | None) -> list[str] | None:
    """`"age,gender"`, `["age", "gender"]` or `["age,gender"]` as a list; None stays None."""
    if values is None:
        return None
    parts = [values] if isinstance(values, str) else values
    return [name.strip() for part in parts for name in part.split(",") if name.strip()]


def is_path(name: str) -> bool:
    """Whether a name is written `module:Class`."""
    module, colon, attribute = name.partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    return bool(colon) and all(part.isidentifier() for part in parts)


def load_object(path: str, kind: str) -> Any:
    """Import what `module:Class` names; modules of the working folder are found too, after all others.

    Args:
        path: MODULE:NAME.
        kind: what it is for, for messages.

    Raises:
        UsageError: no such module, nothing of that name in it, or the module fails to import.
    """
    if not is_path(path):
        raise UsageError(f"{kind} {path!r}: write it as module:Class, e.g. my_{kind}:MyClass.")
    module_name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:  # a console script does not look where it is run
        sys.path.append(here)
    try:
        value: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.split(".")[0] != error.name.split(".")[0]:
            raise UsageError(
                f"{kind} {path!r}: {module_name} needs {error.name}, which is missing."
            ) from error
        raise UsageError(
            f"{kind} {path!r}: there is no module {module_name!r}; run in its folder or put it on PYTHONPATH."
        ) from error
    except (Exception, SystemExit) as error:  # the user's own module may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"{kind} {path!r}: {module_name} cannot be imported ({reason}).") from error
    for name in attribute.split("."):
        try:
            value = getattr(value, name)
        except AttributeError as error:
            raise UsageError(f"{kind} {path!r}: {module_name} has no {attribute!r}.") from error
    return value


def path_of(value: type) -> str:
    """`module:Class` of a class.

    Raises:
        UsageError: it was made inside a function, so no name leads to it.
    """
    path = f"{value.__module__}:{value.__qualname__}"
    if not is_path(path):
        raise UsageError(f"{value!r} was made inside a function; move the class to the top of a module.")
    return path
