"""The Parquet file of an attribute table: how it is laid out, and every check of one that is read.

A row per face: `path`, `frame`, (`box`), `error`, for each attribute a column `ATTRIBUTE/LEVEL` per level
with its posterior and a column `ATTRIBUTE` with the most probable level, and `embedding`. The file's metadata
holds which CLIP and vocabulary, and the levels' text embeddings.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from idfer.attributes.vocabulary import RESERVED
from idfer.errors import IdferError
from idfer.files import atomic

if TYPE_CHECKING:
    import pyarrow as pa

Box = tuple[float, float, float, float]

_KEY = b"idfer.attributes"
_VERSION = 1
_TIGHTEST = 1 << 16  # times that zstd makes anything smaller, at most (128 KiB as a run of 3 or 4 bytes)
_SOURCE: dict[str, type | tuple[type, ...]] = {
    "clip": str, "clip_fingerprint": str, "scale": (int, float), "vocabulary": str,
    "vocabulary_fingerprint": str, "drawn": bool, "warning": str,
}  # fmt: skip


class Columns(TypedDict):
    """All that a table is made of, as `AttributeTable` describes it."""

    path: np.ndarray
    frame: np.ndarray
    box: tuple[Box | None, ...]
    errors: np.ndarray
    levels: dict[str, list[str]]
    posteriors: np.ndarray
    embedding: np.ndarray
    text: np.ndarray
    source: dict[str, Any]


def write_columns(path: str | Path, columns: Columns) -> Path:
    """Write a table (whole or not at all); returns the path.

    Raises:
        IdferError: the folder cannot be written or the disk is full; what stood there is kept.
    """
    import pyarrow.parquet as pq

    target = Path(path)
    levels = columns["levels"]
    table = _to_arrow(columns)
    with atomic(target) as temporary:
        # Embeddings hold float16 values: their low bytes are zero, which split streams compress away.
        pq.write_table(
            table, temporary, compression="zstd", use_dictionary=["error", *levels],
            use_byte_stream_split=["embedding.list.element", *_level_columns(levels)],
            write_page_checksum=True,
        )  # fmt: skip
    return target


def read_columns(path: str | Path) -> Columns:
    """Read a table and check all of it.

    Raises:
        IdferError: the file is missing, damaged, or not an attribute table.
    """
    file = Path(path)
    try:
        size = file.stat().st_size if file.is_file() else None
    except (OSError, ValueError):  # a name too long, or with a null character
        size = None
    if size is None:
        raise IdferError(f"{file}: no such attribute table; make it with `idfer retrieve`.")
    try:
        columns = _from_arrow(_read_parquet(file, size), file)
    except IdferError:
        raise
    except Exception as error:  # what pyarrow raises for a broken file is of many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _bad(file, f"cannot be read as Parquet ({reason})") from error
    check(columns, file)
    return columns


def is_table(file: Path) -> bool:
    """Whether a file is an attribute table, by its metadata; damaged pages do not matter."""
    import pyarrow.parquet as pq

    try:
        return _KEY in (pq.read_schema(file).metadata or {})
    except Exception:  # pyarrow raises many kinds for what is no Parquet file
        return False


def check(columns: Columns, file: str | Path) -> None:
    """Refuse a table whose parts do not fit each other, or that holds numbers no retrieval gives.

    Raises:
        IdferError: the first fault, by file and row.
    """
    levels, path, errors = columns["levels"], columns["path"], columns["errors"]
    posteriors, embedding, text = columns["posteriors"], columns["embedding"], columns["text"]
    _check_levels(levels, file)
    _check_source(columns["source"], file)
    count, width = len(path), sum(len(names) for names in levels.values())
    if not count:
        raise _bad(file, "has no rows")
    if text.ndim != 2 or len(text) != width or not text.shape[1]:
        raise _bad(file, f"its text embeddings are of shape {text.shape}, and it has {width} levels")
    parts = {"posteriors": (posteriors, width), "image embeddings": (embedding, text.shape[1])}
    for name, (array, wide) in parts.items():
        if array.shape != (count, wide):
            raise _bad(file, f"its {name} are of shape {array.shape} in place of {(count, wide)}")
    if not np.isfinite(text).all() or np.abs(np.linalg.norm(text.astype(float), axis=1) - 1).max() > 1e-2:
        raise _bad(file, "its text embeddings are not of unit length")

    def refuse(bad: np.ndarray, reason: str) -> None:
        if (rows := np.flatnonzero(bad)).size:
            raise _bad(file, f"row {rows[0]} ({path[rows[0]]}): {reason}")

    refuse(np.array([not name for name in path]), "its path is empty")
    failed = errors != ""  # perhaps because of its box
    boxless = np.array([not _is_box(box) for box in columns["box"]])
    refuse(~failed & boxless, "its box is not x, y, width, height")
    refuse(failed & ~np.isnan(posteriors).all(axis=1), "it has an error, and yet posteriors")
    refuse(~failed & ~np.isfinite(posteriors).all(axis=1), "a posterior is not a number")
    outside = ((posteriors < -1e-6) | (posteriors > 1 + 1e-6)).any(axis=1)
    refuse(~failed & outside, "a posterior is not in [0, 1]")
    for name, part in level_parts(posteriors, levels).items():
        off = np.abs(part.sum(axis=1, dtype=np.float64) - 1) > 1e-3
        refuse(~failed & off, f"its posteriors of {name} do not sum to 1")
    known = np.isfinite(embedding).all(axis=1) | np.isnan(embedding).all(axis=1)
    refuse(~known, "its embedding is not made of numbers")
    refuse(_contradicted(columns), "the same face stands in another row, with other posteriors")


def level_parts(posteriors: np.ndarray, levels: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """(N, k) posteriors by attribute, from all side by side (N, K)."""
    borders = np.cumsum([len(names) for names in levels.values()])[:-1]
    return dict(zip(levels, np.split(posteriors, borders, axis=1), strict=True))


def top_levels(part: np.ndarray, names: Sequence[str], errors: np.ndarray) -> np.ndarray:
    """(N,) name of one attribute's most probable level; "" where `errors` says that there is none."""
    best = np.nan_to_num(part).argmax(axis=1)
    return np.where(errors == "", np.array(names, object)[best], "")


def texts(values: Iterable[str]) -> np.ndarray:
    """(N,) array of Python strings, whatever their lengths."""
    return np.array(list(values), object)


def _to_arrow(columns: Columns) -> pa.Table:
    import pyarrow as pa

    errors, levels, embedding = columns["errors"], columns["levels"], columns["embedding"]
    arrays: dict[str, Any] = {
        "path": pa.array(columns["path"], pa.string()), "frame": pa.array(columns["frame"], pa.int64())
    }  # fmt: skip
    if any(box is not None for box in columns["box"]):
        arrays["box"] = pa.array([box and list(box) for box in columns["box"]], pa.list_(pa.float64()))
    arrays["error"] = pa.array(errors, pa.string())
    for name, part in level_parts(columns["posteriors"], levels).items():
        for level, values in zip(levels[name], part.T, strict=True):
            arrays[f"{name}/{level}"] = pa.array(values, pa.float32(), from_pandas=False)
        arrays[name] = pa.array(top_levels(part, levels[name], errors), pa.string(), mask=errors != "")
    flat = pa.array(embedding.ravel(), pa.float32(), from_pandas=False)
    arrays["embedding"] = pa.FixedSizeListArray.from_arrays(flat, embedding.shape[1])
    meta = {
        "version": _VERSION, "source": columns["source"], "levels": levels,
        "text": base64.b64encode(columns["text"].astype("<f4").tobytes()).decode(),
    }  # fmt: skip
    return pa.table(arrays).replace_schema_metadata({_KEY: json.dumps(meta)})


def _read_parquet(file: Path, size: int) -> pa.Table:
    """The Arrow table of a Parquet file of `size` bytes, each page compared with its checksum."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        schema = parquet.schema_arrow
        if _KEY not in (schema.metadata or {}):
            raise IdferError(f"{file}: is not an attribute table; make one with `idfer retrieve`.")
        width = sum(getattr(column.type, "list_size", 1) for column in schema)
        claimed = parquet.metadata.num_rows
        if claimed * width * 4 > size * _TIGHTEST:  # before memory is asked for
            raise _bad(file, f"claims {claimed} rows, which its {size} bytes cannot hold")
        table = parquet.read()
        if table.num_rows != claimed:
            raise _bad(file, f"claims {claimed} rows, and holds {table.num_rows}")
    table.validate(full=True)
    return table


def _from_arrow(table: pa.Table, file: Path) -> Columns:
    """A table's parts, their types checked; whether they fit each other is left to `check`."""
    import pyarrow as pa

    meta = _metadata(table.schema.metadata[_KEY], file)
    levels = _check_levels(meta.get("levels"), file)
    names = _level_columns(levels)
    wanted = {"path": pa.string(), "frame": pa.int64(), "error": pa.string()}
    wanted |= dict.fromkeys(names, pa.float32())
    if "box" in table.column_names:
        wanted["box"] = pa.list_(pa.float64())
    for name in (*wanted, "embedding"):
        if (count := table.column_names.count(name)) != 1:
            raise _bad(file, f"column {name!r} is {'there twice' if count else 'missing'}")
        column = table[name]
        if name in wanted and not _alike(column.type, wanted[name]):
            raise _bad(file, f"column {name!r} is of type {column.type} in place of {wanted[name]}")
        if column.null_count and name != "box":
            raise _bad(file, f"column {name!r} has empty cells")
    kind = table["embedding"].type
    if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32():
        raise _bad(file, f"column 'embedding' is of type {kind}, not a list of as many numbers in each row")
    count = table.num_rows
    boxes = table["box"].to_pylist() if "box" in table.column_names else [None] * count
    posteriors = [table[name].to_numpy() for name in names]
    embedding = table["embedding"].combine_chunks().flatten()
    if embedding.null_count:
        raise _bad(file, "column 'embedding' has empty cells")
    return Columns(
        path=texts(table["path"].to_pylist()),
        frame=table["frame"].to_numpy(),
        box=tuple(None if box is None else tuple(box) for box in boxes),
        errors=texts(table["error"].to_pylist()),
        levels=levels,
        posteriors=np.stack(posteriors, axis=1),
        embedding=embedding.to_numpy().reshape(count, kind.list_size),
        text=_text(meta.get("text"), len(names), file),
        source=_check_source(meta.get("source"), file),
    )


def _metadata(content: bytes, file: Path) -> dict[str, Any]:
    try:
        meta = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _bad(file, f"its metadata is not JSON ({error})") from error
    if not isinstance(meta, dict):
        raise _bad(file, "its metadata is not a JSON object")
    if meta.get("version") != _VERSION:
        raise _bad(file, f"is of table version {meta.get('version')!r}, this idfer reads {_VERSION}")
    return meta


def _text(content: object, count: int, file: Path) -> np.ndarray:
    """(K, E) text embeddings of `count` levels, from base64."""
    try:
        raw = base64.b64decode(content, validate=True) if isinstance(content, str) else b""
    except ValueError as error:
        raise _bad(file, f"its text embeddings are not base64 ({error})") from error
    if not raw or len(raw) % (4 * count):
        raise _bad(file, f"its text embeddings are {len(raw)} bytes, not so many numbers for each of {count}")
    return np.frombuffer(raw, "<f4").reshape(count, -1).astype(np.float32)


def _check_levels(levels: object, file: str | Path) -> dict[str, list[str]]:
    """The attributes and their levels, if named as in a vocabulary."""
    if not isinstance(levels, dict) or not levels:
        raise _bad(file, "its metadata names no attributes")
    for attribute, names in levels.items():
        if not isinstance(attribute, str) or not attribute or "/" in attribute or attribute in RESERVED:
            raise _bad(file, f"{attribute!r} is no name of an attribute")
        if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
            raise _bad(file, f"the levels of {attribute!r} are not a list of names")
        if len(set(names)) < len(names):
            raise _bad(file, f"a level of {attribute!r} is there twice")
    return levels


def _check_source(source: object, file: str | Path) -> dict[str, Any]:
    """Which CLIP and vocabulary, if well formed; a table made by hand may say less."""
    if not isinstance(source, dict):
        raise _bad(file, "its metadata does not say which CLIP made it")
    for key, kind in _SOURCE.items():
        value = source.get(key)
        if key in source and (not isinstance(value, kind) or (kind is not bool and isinstance(value, bool))):
            raise _bad(file, f"its metadata has {key} {value!r}")
    scale = source.get("scale", 1.0)
    if not (math.isfinite(scale) and scale > 0):
        raise _bad(file, f"its metadata has scale {scale!r}")
    return source


def _contradicted(columns: Columns) -> np.ndarray:
    """(N,) whether an earlier row is of the same face, with other posteriors."""
    bad = np.zeros(len(columns["path"]), bool)
    first: dict[object, int] = {}
    for row, face in enumerate(zip(columns["path"], columns["frame"], columns["box"], strict=True)):
        earlier = first.setdefault(face, row)
        if earlier != row:
            pair = columns["posteriors"][[earlier, row]]
            bad[row] = not np.array_equal(pair[0], pair[1], equal_nan=True)
    return bad


def _is_box(box: Sequence[float | None] | None) -> bool:
    if box is None:
        return True
    numbers = [value for value in box if value is not None and math.isfinite(value)]
    return len(box) == len(numbers) == 4 and min(numbers[2:]) > 0


def _alike(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column's type is the one `write_columns` gives, whatever an inner field is called."""
    import pyarrow as pa

    if pa.types.is_list(wanted):
        return bool(pa.types.is_list(kind) and kind.value_type == wanted.value_type)
    return bool(kind == wanted)


def _level_columns(levels: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{attribute}/{level}" for attribute, names in levels.items() for level in names]


def _bad(file: str | Path, reason: str) -> IdferError:
    return IdferError(f"{file}: {reason}; run `idfer retrieve` again.")
