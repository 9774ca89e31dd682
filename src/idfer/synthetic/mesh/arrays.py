"""What the arrays of an asset file must be: their kinds, shapes and values, so that no head breaks later."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from idfer.errors import IdferError

MAKE = "make it anew with `idfer assets makehuman|ict CHECKOUT -o FILE.npz`"
SETS = ("african", "asian", "caucasian")  # of MakeHuman's expressions, in the order of `person.ancestry`
_NUMBERS, _WHOLE, _TEXTS = "fiu", "iu", "U"  # kinds of dtype

# array -> kinds of its dtype, and its shape: the length of each side, or the array of as many rows
_COMMON: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "neutral": (_NUMBERS, ("neutral", 3)),
    "tri": (_WHOLE, ("tri", 3)),
    "region_names": (_TEXTS, ("region_names",)),
    "region": (_WHOLE, ("neutral",)),
    "src_index": (_WHOLE, ("neutral",)),
    "expr_names": (_TEXTS, ("expr_names",)),
}
_OWN: dict[str, dict[str, tuple[str, tuple[str | int, ...]]]] = {
    "makehuman": {
        "expr_eth": (_TEXTS, (len(SETS),)),
        "expr": (_NUMBERS, ("expr_eth", "expr_names", "neutral", 3)),
        **{
            name: pair
            for part in ("macro", "universal", "detail")
            for name, pair in (
                (f"{part}_names", (_TEXTS, (f"{part}_names",))),
                (part, (_NUMBERS, (f"{part}_names", "neutral", 3))),
            )
        },
    },
    "ict": {
        "expr": (_NUMBERS, ("expr_names", "neutral", 3)),
        "identity": (_NUMBERS, ("identity", "neutral", 3)),
        "landmarks68": (_NUMBERS, (68, 3)),
    },
}
_MOST = {"expr_names": 64, "identity": 397}  # as many as a person has draws for


def checked(arrays: Mapping[str, np.ndarray], kind: str, file: Path) -> dict[str, np.ndarray]:
    """The arrays that a head is made of.

    Args:
        arrays: of the file.
        kind: "makehuman" or "ict".
        file: named in errors.

    Raises:
        IdferError: one is missing, of another kind or shape, not finite, or names what does not exist.
    """
    wanted = _COMMON | _OWN[kind]
    if missing := [name for name in wanted if name not in arrays]:
        raise IdferError(f"{file} lacks {missing[0]!r} ({len(missing)} missing); {MAKE}.")
    a = {name: arrays[name] for name in wanted}
    for name, (kinds, shape) in wanted.items():
        array = a[name]
        if array.dtype.kind not in kinds:
            what = {_NUMBERS: "numbers", _WHOLE: "whole numbers", _TEXTS: "texts"}[kinds]
            raise IdferError(f"{file}: {name} holds {array.dtype}, not {what}; {MAKE}.")
        expected = tuple(n if isinstance(n, int) else len(a[n]) if a[n].ndim else 0 for n in shape)
        if array.shape != expected:
            raise IdferError(f"{file}: {name} is {array.shape}, not {expected}; {MAKE}.")
        if not array.size:
            raise IdferError(f"{file}: {name} is empty; {MAKE}.")
        if len(array) > _MOST.get(name, len(array)):
            raise IdferError(f"{file}: {name} has {len(array)} rows, at most {_MOST[name]}; {MAKE}.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise IdferError(f"{file}: {name} holds values that are not finite; {MAKE}.")
    _check_named(a["tri"], len(a["neutral"]), "tri", "vertices", file)
    _check_named(a["region"], len(a["region_names"]), "region", "regions", file)
    if kind == "makehuman" and tuple(map(str, a["expr_eth"])) != SETS:
        raise IdferError(f"{file}: expr_eth is {a['expr_eth'].tolist()}, not {list(SETS)}; {MAKE}.")
    if kind == "makehuman" and not any(str(name).endswith("male-young") for name in a["macro_names"]):
        raise IdferError(f"{file}: macro_names has no young people; {MAKE}.")
    return a


def _check_named(array: np.ndarray, count: int, name: str, what: str, file: Path) -> None:
    outside = array[(array < 0) | (array >= count)]
    if outside.size:
        raise IdferError(
            f"{file}: {name} names {what} that do not exist, {int(outside[0])} of {count:,}; {MAKE}."
        )
