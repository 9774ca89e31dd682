"""A damaged attribute table is one line that names the file, never a traceback or wrong numbers."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from idfer import AttributeTable, IdferError
from idfer.attributes.table_file import check

KEY = b"idfer.attributes"
ROWS = 30
UNREADABLE = 4


def small_table() -> AttributeTable:
    """Thirty faces, one unreadable, every other with a box."""
    rng = np.random.default_rng(0)
    red, thirds = rng.uniform(0.1, 0.9, ROWS), rng.dirichlet(np.ones(3), ROWS)
    posteriors = np.column_stack([red, 1 - red, thirds]).astype(np.float32)
    embedding = rng.normal(size=(ROWS, 8)).astype(np.float16).astype(np.float32)
    text = rng.normal(size=(5, 8))
    errors = np.full(ROWS, "", object)
    errors[UNREADABLE] = "4.png: is empty"
    posteriors[UNREADABLE] = embedding[UNREADABLE] = np.nan
    return AttributeTable(
        path=np.array([f"{row}.png" for row in range(ROWS)], object),
        frame=np.full(ROWS, -1),
        box=tuple((1.0, 2.0, 30.0, 40.0) if row % 2 else None for row in range(ROWS)),
        errors=errors,
        levels={"tint": ["red", "plain"], "group": ["a", "b", "c"]},
        posteriors=posteriors,
        embedding=embedding,
        text=(text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32),
        source={"clip": "builtin", "scale": 20.0, "drawn": True, "warning": ""},
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return small_table().write(tmp_path / "attributes.parquet")


def refused(file: Path) -> str:
    """What is said of a file that cannot be used, in one line that names it and the cure."""
    with pytest.raises(IdferError) as caught:
        AttributeTable.read(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: ") and "idfer retrieve" in said and "\n" not in said
    assert caught.value.exit_code == 1
    return said


def changed(**fields: Any) -> Callable[[AttributeTable], AttributeTable]:
    """A table in which a few cells are other: NAME=(index, value)."""

    def change(table: AttributeTable) -> AttributeTable:
        arrays = {name: np.array(getattr(table, name)) for name in fields}
        for name, (index, value) in fields.items():
            arrays[name][index] = value
        return replace(table, **arrays)

    return change


def with_box(box: tuple[float, ...]) -> Callable[[AttributeTable], AttributeTable]:
    return lambda table: replace(table, box=(*table.box[:3], box, *table.box[4:]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (changed(posteriors=((7, 0), np.nan)), r"row 7 \(7\.png\): a posterior is not a number"),
        (changed(posteriors=((7, 0), np.inf)), "row 7 .*a posterior is not a number"),
        (changed(posteriors=((7, slice(0, 2)), (1.5, -0.5))), r"row 7 .*not in \[0, 1\]"),
        (changed(posteriors=((9, 4), 0.99)), "row 9 .*posteriors of group do not sum to 1"),
        (changed(posteriors=(UNREADABLE, 0.5)), r"row 4 \(4\.png\): it has an error, and yet posteriors"),
        (changed(embedding=((2, 3), np.inf)), "row 2 .*its embedding is not made of numbers"),
        (changed(embedding=((2, 3), np.nan)), "row 2 .*its embedding is not made of numbers"),
        (changed(text=((1, 3), 7.0)), "text embeddings are not of unit length"),
        (changed(text=((1, 3), np.nan)), "text embeddings are not of unit length"),
        (changed(path=(3, "1.png")), r"row 3 \(1\.png\): the same face stands in another row"),
        (changed(path=(3, "")), "row 3 .*path is empty"),
        (with_box((1.0, 2.0, 3.0)), "row 3 .*its box is not x, y, width, height"),
        (with_box((1.0, 2.0, 3.0, np.nan)), "row 3 .*its box is not"),
        (with_box((1.0, 2.0, 3.0, 0.0)), "row 3 .*its box is not"),
        (lambda table: table.rows(np.array([], int)), "has no rows"),
    ],
)
def test_numbers_that_no_retrieval_gives(
    file: Path, damage: Callable[[AttributeTable], AttributeTable], said: str
) -> None:
    damage(small_table()).write(file)
    with pytest.raises(IdferError, match=said):
        AttributeTable.read(file)
    refused(file)


def test_a_face_that_stands_there_twice_alike_or_failed_for_its_box_is_no_fault(file: Path) -> None:
    table = small_table()
    table = replace(table, box=(*table.box[:UNREADABLE], (1.0, 2.0, 0.0, 0.0), *table.box[UNREADABLE + 1 :]))
    order = np.r_[np.arange(ROWS), 3, UNREADABLE]
    table.rows(order).write(file)
    np.testing.assert_array_equal(AttributeTable.read(file).posteriors, table.posteriors[order])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("version", 2, "table version 2, this idfer reads 1"),
        ("levels", 5, "names no attributes"),
        ("levels", {}, "names no attributes"),
        ("levels", {"tint": 5}, "levels of 'tint' are not a list"),
        ("levels", {"tint": "red"}, "levels of 'tint' are not a list"),
        ("levels", {"tint": []}, "levels of 'tint' are not a list"),
        ("levels", {"tint": [1, 2]}, "levels of 'tint' are not a list"),
        ("levels", {"tint": ["red", "red"]}, "a level of 'tint' is there twice"),
        ("levels", {"path": ["red", "plain"]}, "'path' is no name of an attribute"),
        ("levels", {"tint": ["red", "plain", "blue"]}, "column 'tint/blue' is missing"),
        (
            "levels",
            {"tint": ["red", "plain"]},
            r"are of shape \(30, 8\) in place of \(30, 20\)",
        ),
        ("levels", {"tint": [f"{level}" for level in range(100_000)]}, "column 'tint/0' is missing"),
        ("text", 5, "text embeddings are 0 bytes"),
        ("text", "", "text embeddings are 0 bytes"),
        ("text", "???", "text embeddings are not base64"),
        ("text", "QUJD", "text embeddings are 3 bytes"),
        (
            "text",
            base64.b64encode(np.eye(5, dtype="<f4")).decode(),
            r"image embeddings are of shape",
        ),
        ("source", None, "does not say which CLIP"),
        ("source", [], "does not say which CLIP"),
        ("source", {"clip": 5}, "metadata has clip 5"),
        ("source", {"scale": "much"}, "metadata has scale 'much'"),
        ("source", {"scale": True}, "metadata has scale True"),
        ("source", {"scale": float("nan")}, "metadata has scale nan"),
        ("source", {"scale": -1}, "metadata has scale -1"),
        ("source", {"drawn": "yes"}, "metadata has drawn 'yes'"),
        ("source", {"warning": 3}, "metadata has warning 3"),
    ],
)
def test_metadata_of_another_kind(file: Path, key: str, value: object, said: str) -> None:
    table = pq.read_table(file)
    meta = json.loads(table.schema.metadata[KEY]) | {key: value}
    pq.write_table(table.replace_schema_metadata({KEY: json.dumps(meta)}), file)
    with pytest.raises(IdferError, match=said):
        AttributeTable.read(file)
    refused(file)


@pytest.mark.parametrize("content", [b"", b"5", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_metadata_that_is_no_object(file: Path, content: bytes) -> None:
    pq.write_table(pq.read_table(file).replace_schema_metadata({KEY: content}), file)
    refused(file)


@pytest.mark.parametrize(
    ("name", "column", "said"),
    [
        ("path", pa.array(range(ROWS)), "column 'path' is of type int64 in place of string"),
        ("path", pa.array(["a"] * (ROWS - 1) + [None]), "column 'path' has empty cells"),
        ("frame", pa.array(["-1"] * ROWS), "column 'frame' is of type string"),
        ("error", pa.array([None] * ROWS, pa.string()), "column 'error' has empty cells"),
        ("box", pa.array(["[1, 2, 3, 4]"] * ROWS), "column 'box' is of type string"),
        ("box", pa.array([[None, 1.0, 2.0, 3.0]] * ROWS), "row 0 .*its box is not"),
        ("tint/red", pa.array([1] * ROWS), "column 'tint/red' is of type int64"),
        ("tint/red", pa.array([None] * ROWS, pa.float32()), "column 'tint/red' has empty cells"),
        ("embedding", pa.array([1.0] * ROWS), "column 'embedding' is of type double"),
        ("embedding", pa.array([[1.0, 2.0]] * ROWS, pa.list_(pa.float32())), "'embedding' is of type list"),
        ("embedding", pa.array([[1.0]] * ROWS, pa.list_(pa.float32(), 1)), r"shape \(30, 1\) in place of"),
        ("embedding", pa.array([None] * ROWS, pa.list_(pa.float32(), 8)), "'embedding' has empty cells"),
        ("embedding", pa.array([[None] * 8] * ROWS, pa.list_(pa.float32(), 8)), "has empty cells"),
        ("group/c", None, "column 'group/c' is missing"),
    ],
)
def test_columns_of_another_kind(file: Path, name: str, column: pa.Array | None, said: str) -> None:
    table = pq.read_table(file)
    position = table.column_names.index(name)
    table = table.remove_column(position) if column is None else table.set_column(position, name, column)
    pq.write_table(table, file)
    with pytest.raises(IdferError, match=said):
        AttributeTable.read(file)
    refused(file)


def test_a_column_that_is_there_twice(file: Path) -> None:
    table = pq.read_table(file)
    pq.write_table(table.append_column("path", table["path"]), file)
    assert "column 'path' is there twice" in refused(file)


def test_a_changed_number_is_told_by_its_checksum(file: Path) -> None:
    """One flipped bit in every place of the pages: not one goes by as another embedding or posterior."""
    whole, expected = file.read_bytes(), small_table()
    pages = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for place in range(4, pages, 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            table = AttributeTable.read(file)
        except IdferError:
            continue
        np.testing.assert_array_equal(table.posteriors, expected.posteriors)
        np.testing.assert_array_equal(table.embedding, expected.embedding)
        assert table.path.tolist() == expected.path.tolist()


@pytest.mark.parametrize("claim", [10**6, 10**10, 10**12])
def test_more_rows_than_the_file_holds_are_claimed(file: Path, claim: int) -> None:
    whole = file.read_bytes()
    length = int.from_bytes(whole[-8:-4], "little")
    pages, footer = whole[: -8 - length], whole[-8 - length : -8]
    rows = b"\x16"  # Thrift's compact protocol: a field of type i64, then the number, zigzag
    footer = footer.replace(rows + varint(2 * ROWS), rows + varint(2 * claim))
    file.write_bytes(pages + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    assert pq.read_metadata(file).num_rows == claim
    assert f"claims {claim} rows" in refused(file)


def varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """A file cut short, or with flipped bits, changed bytes in its footer, a hole or a lump."""
    data, kind = bytearray(whole), rng.randrange(4)
    if kind == 0:
        return whole[: rng.randrange(len(whole))]
    if kind == 1:
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        for _ in range(rng.randint(1, 3)):
            data[-9 - rng.randrange(int.from_bytes(whole[-8:-4], "little"))] = rng.randrange(256)
    else:
        place, width = rng.randrange(len(data)), rng.randint(1, 40)
        data[place : place + width] = rng.randbytes(rng.choice([0, width, 2 * width]))
    return bytes(data)


def damaged_metadata(whole: str, rng: random.Random) -> str:
    """The metadata with a part replaced by another JSON value, or a character by another."""
    odd = rng.choice([None, 5, -1, 1e300, "", "x", [], [1], {}, {"a": 1}, True, 10**20, ["a", "a"]])
    meta = json.loads(whole)
    kind = rng.randrange(3)
    if kind == 0:
        meta[rng.choice(list(meta))] = odd
        return json.dumps(meta)
    if kind == 1:
        part = rng.choice(["source", "levels"])
        meta[part][rng.choice([*meta[part], "other"])] = odd
        return json.dumps(meta)
    place = rng.randrange(len(whole))
    return whole[:place] + chr(rng.randrange(32, 127)) + whole[place + 1 :]


def test_whatever_the_damage_it_is_one_line_or_a_table_that_holds(file: Path) -> None:
    whole, table = file.read_bytes(), pq.read_table(file)
    meta = table.schema.metadata[KEY].decode()
    outcomes = []
    for seed in range(400):
        rng = random.Random(seed)
        if seed % 2:
            file.write_bytes(damaged(whole, rng))
        else:
            pq.write_table(table.replace_schema_metadata({KEY: damaged_metadata(meta, rng)}), file)
        try:
            read = AttributeTable.read(file)
        except IdferError as error:
            assert str(error).startswith(f"{file}: ") and "\n" not in str(error), seed
            outcomes.append("refused")
        else:
            check(vars(read), file)  # type: ignore[arg-type]
            outcomes.append("read")
    assert outcomes.count("refused") > 300


def test_what_is_no_file_or_no_table(tmp_path: Path) -> None:
    for name in ("gone.parquet", "x" * 5000, "nul\0"):
        with pytest.raises(IdferError, match="no such attribute table"):
            AttributeTable.read(tmp_path / name)
    pd.DataFrame({"path": ["a.png"]}).to_parquet(tmp_path / "other.parquet")
    assert "is not an attribute table" in refused(tmp_path / "other.parquet")
