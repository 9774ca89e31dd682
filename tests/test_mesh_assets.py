"""Asset files of the mesh engine: made from checkouts, read, and refused in one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toy_heads
from idfer import cli
from idfer.errors import IdferError, UsageError
from idfer.synthetic.assets import assets_ict, assets_makehuman
from idfer.synthetic.mesh import asset, ict
from idfer.synthetic.mesh.surfaces import pieces


@pytest.fixture(scope="module")
def makehuman(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_heads.makehuman_checkout(tmp_path_factory.mktemp("makehuman"))


@pytest.fixture(scope="module")
def facekit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_heads.ict_checkout(tmp_path_factory.mktemp("ict"))


def test_a_checkout_of_makehuman_becomes_its_head(
    makehuman: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "head.npz"
    assert cli.main(["assets", "makehuman", str(makehuman), "-o", str(out), "--progress", "false"]) == 0
    assert "CC0" in capsys.readouterr().out
    made, wanted = np.load(out), toy_heads.makehuman_arrays()
    np.testing.assert_array_equal(made["src_index"], wanted["src_index"])
    np.testing.assert_allclose(made["neutral"], wanted["neutral"], atol=1e-5)
    np.testing.assert_array_equal(made["region"], wanted["region"])
    assert sorted(map(tuple, made["tri"].tolist())) == sorted(map(tuple, wanted["tri"].tolist()))
    assert list(made["detail_names"]) == list(wanted["detail_names"])  # left and right are one
    for name in ("macro", "universal", "detail", "expr"):
        np.testing.assert_allclose(made[name].astype(float), wanted[name].astype(float), atol=2e-3)
    read = asset.read(out)
    assert (read.kind, read.expression_sets) == ("makehuman", ("african", "asian", "caucasian"))
    assert {str(made[k]) for k in ("format", "version", "kind")} == {"idfer-face", "1", "makehuman"}
    for folder in (makehuman / "makehuman", makehuman):  # the repository or a folder in it
        assert (
            asset.read(assets_makehuman(folder, tmp_path / "b.npz", progress=False).path).digest
            == read.digest
        )


def test_a_checkout_of_facekit_becomes_its_head(
    facekit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ict, "MODES", 2)
    (facekit / "LICENSE").write_text("Some License\n\nthe above notice shall be included\n")
    made = assets_ict(facekit, tmp_path / "head.npz", progress=False)
    assert str(np.load(made.path)["notice"]) == "Some License\n\nthe above notice shall be included"
    assert "MIT (c) 2020 USC" in str(made)
    read = asset.read(made.path)
    assert (read.kind, read.expression_names) == ("ict", ("jawOpen", "mouthSmile_L"))
    assert len(read.identity) == 2
    np.testing.assert_allclose(read.identity, 0.5, atol=1e-3)
    source = np.load(made.path)["src_index"]
    assert set(np.array(ict._POINTS)) <= set(source.tolist())  # the face is whole
    assert len(read.neutral) < 0.6 * 26719


def test_teeth_that_touch_are_not_merged() -> None:
    points = np.array([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0], [0.1, 0.01, 0], [0.1, 0, 5]], np.float32)
    faces = np.array([[0, 1, 2]])
    stands = ict._merged(points, pieces(faces, 5), 1.0)
    assert stands.tolist() == [1, 1, 1, 3, 4]  # one of each piece and cell: the one in its middle


def _missing(root: Path) -> Path:
    file = next((root / "makehuman/data/targets/macrodetails").glob("*old*.target"))
    file.unlink()
    return file


def _pointer(root: Path) -> Path:
    file = root / "makehuman/data/3dobjs/base.obj"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    return file


def _cut(root: Path) -> Path:
    file = next((root / "makehuman/data/targets/mouth").glob("*.target"))
    file.write_text(file.read_text()[:-9])
    return file


def _emptied(root: Path) -> Path:
    folder = root / "makehuman/data/targets/nose"
    for file in folder.glob("*.target"):
        file.unlink()
    return folder


@pytest.mark.parametrize("spoil", [_missing, _pointer, _cut, _emptied])
def test_a_broken_checkout_is_named_by_file(
    spoil: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = spoil(toy_heads.makehuman_checkout(tmp_path / "co"))
    out = tmp_path / "head.npz"
    assert cli.main(["assets", "makehuman", str(tmp_path / "co"), "-o", str(out), "--progress", "false"]) == 1
    said = capsys.readouterr().err.strip()
    assert str(file) in said
    assert "\n" not in said
    assert not out.exists()


def test_shapes_of_another_length_are_refused(
    facekit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ict, "MODES", 2)
    file = facekit / "FaceXModel" / "identity001.obj"
    text = file.read_text()
    file.write_text("\n".join(text.splitlines()[:1000]))
    try:
        with pytest.raises(IdferError, match=r"identity001\.obj has 999 vertices, not 26,719"):
            assets_ict(facekit, tmp_path / "head.npz", progress=False)
    finally:
        file.write_text(text)


@pytest.mark.parametrize("kind", ["nowhere", "another"])
def test_what_is_no_checkout_says_how_to_get_one(kind: str, tmp_path: Path) -> None:
    (tmp_path / "another").mkdir()
    with pytest.raises(UsageError, match=r"git clone https://github\.com/makehumancommunity"):
        assets_makehuman(tmp_path / kind, tmp_path / "head.npz")
    with pytest.raises(UsageError, match=r"must end in \.npz"):
        assets_ict(tmp_path, tmp_path / "head.obj")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 2}, "of version 2, this idfer reads 1"),
        ({"format": "other"}, "no asset file"),
        ({"kind": "basel"}, "no asset file"),
        ({"macro": None}, "lacks 'macro'"),
        ({"src_index": np.arange(14001, 14001 + 492)}, "src_index is"),
        ({"tri": np.array([[0, 1, 60000]])}, "tri names vertices that do not exist, 60000"),
        ({"detail": np.full((20, 1, 3), np.nan)}, "detail is"),
        ({"expr_names": np.array(["a"])}, r"expr is .* not \(3, 1, "),
        ({"tri": np.array([[0, 1, -2]])}, "tri names vertices that do not exist, -2 of"),
        ({"tri": np.array([[0.0, 1.0, 2.5]])}, "tri holds float64, not whole numbers"),
        ({"tri": np.arange(3)}, r"tri is \(3,\), not \(3, 3\)"),
        ({"tri": np.zeros((0, 3), int)}, "tri is empty"),
        ({"neutral": np.float32(1)}, r"neutral is \(\), not"),
        ({"macro": np.zeros(3)}, r"macro is \(3,\), not"),
        ({"macro_names": np.array([["a"]])}, r"macro_names is \(1, 1\), not"),
        ({"expr_eth": np.array(["asian", "african", "caucasian"])}, "expr_eth is"),
        ({"expr_names": np.arange(5)}, "expr_names holds int64, not texts"),
        ({"version": "x"}, "of version x"),
        ({"version": [1, 2]}, "of version"),
        ({"region_names": np.array(["skin", "horns", "teeth", "tongue"])}, "'horns' is unknown"),
    ],
)
def test_files_that_cannot_be_used_say_why(changes: dict[str, object], said: str, tmp_path: Path) -> None:
    file = toy_heads.write(tmp_path / "head.npz", **changes)
    with pytest.raises(IdferError, match=said) as error:
        asset.read(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("name", "place", "value", "said"),
    [
        ("landmarks68", (3, 1), np.nan, "landmarks68 holds values that are not finite"),
        ("identity", (0, 2, 1), np.inf, "identity holds values that are not finite"),
        ("region", 7, 9, "region names regions that do not exist, 9 of 4"),
        ("region", slice(None), 0, "no eye on each side"),
        ("tri", (5, 0), 10**9, "tri names vertices that do not exist, 1000000000 of"),
    ],
)
def test_broken_arrays_are_named(
    name: str, place: Any, value: float, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array = toy_heads.ict_arrays()[name]
    array[place] = value
    file = toy_heads.write(tmp_path / "head.npz", "ict", **{name: array})
    assert cli.main(["synth", str(tmp_path / "out"), "--engine", "mesh", "--assets", str(file)]) == 1
    printed = capsys.readouterr().err.strip()
    assert said in printed and str(file) in printed and "\n" not in printed


def test_shapes_that_nobody_has_draws_for_are_refused(tmp_path: Path) -> None:
    arrays = toy_heads.ict_arrays()
    many = {"expr": np.repeat(arrays["expr"][:1], 65, axis=0), "expr_names": np.array(["a"] * 65)}
    with pytest.raises(IdferError, match="expr_names has 65 rows, at most 64"):
        asset.read(toy_heads.write(tmp_path / "head.npz", "ict", **many))


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    neutral = toy_heads.makehuman_arrays()["neutral"]
    neutral[3, 1] = np.nan
    with pytest.raises(IdferError, match="not finite"):
        asset.read(toy_heads.write(tmp_path / "head.npz", neutral=neutral))


def test_files_cut_short_or_absent_are_refused(tmp_path: Path) -> None:
    file = toy_heads.write(tmp_path / "head.npz")
    file.write_bytes(file.read_bytes()[:-4000])
    with pytest.raises(IdferError, match="perhaps it was cut short"):
        asset.read(file)
    file.write_bytes(b"picture")
    with pytest.raises(IdferError, match="cannot be read"):
        asset.read(file)
    with pytest.raises(UsageError, match="does not exist"):
        asset.read(tmp_path / "none.npz")


def test_a_file_without_a_stated_format_is_read_by_its_arrays(tmp_path: Path) -> None:
    bare = dict.fromkeys(("format", "version", "kind", "licence", "source"))
    one = asset.read(toy_heads.write(tmp_path / "a.npz", "ict", **bare))
    assert (one.kind, one.digest) == ("ict", asset.read(toy_heads.write(tmp_path / "b.npz", "ict")).digest)
