"""`idfer synth --engine mesh`: both engines behind one Protocol, refusals, resuming, pictures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import toy_heads
from idfer import cli
from idfer.data.manifest import RENDERED, Manifest
from idfer.errors import IdferError, UsageError
from idfer.synthetic import engine
from idfer.synthetic.dataset import synth, write_splits
from idfer.synthetic.factors import Factors, sample
from idfer.synthetic.mesh import engine as mesh_engine


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("heads")
    return [toy_heads.write(folder / "a.npz"), toy_heads.write(folder / "b.npz", "ict")]


class Counting:
    """An engine that needs nothing: grey pictures, a few at a time, and a count of what was asked of it."""

    name, source, sheet_size, sheet_people = "counting", "idfer-counting", 16, 2

    def __init__(self, fails_after: int | None = None, fingerprint: str = "a") -> None:
        self.drawn, self._fails_after, self._fingerprint = 0, fails_after, fingerprint

    def check(self, size: int) -> None: ...

    def fingerprint(self) -> str:
        return self._fingerprint

    def columns(self, factors: Factors) -> dict[str, Any]:
        return {"engine": self.name, "head": "none"}

    def landmarks(self, factors: Factors, size: int, progress: bool = False) -> np.ndarray:
        return np.zeros((len(factors), 5, 2))

    def render(self, factors: Factors, size: int) -> torch.Tensor:
        return torch.from_numpy(np.concatenate(list(self.pictures(factors, size)))).permute(0, 3, 1, 2)

    def pictures(self, factors: Factors, size: int) -> Generator[np.ndarray, None, None]:
        for start in range(0, len(factors), 2):
            if self._fails_after is not None and self.drawn >= self._fails_after:
                raise KeyboardInterrupt
            some = factors.rows(slice(start, start + 2))
            self.drawn += len(some)
            grey = (some.identity.numpy() % 200).astype(np.uint8)
            yield np.broadcast_to(grey[:, None, None, None], (len(some), size, size, 3)).copy()


# --- refusals


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--engine", "mash"], "Did you mean 'mesh'"),
        (["--engine", "mesh"], "idfer assets makehuman"),
        (["--assets", "HEAD"], "--assets: of the mesh engine; add --engine mesh"),
        (["--samples", "12", "--workers", "2"], "--samples and --workers: of the mesh engine"),
        (["--engine", "mesh", "--assets", "none.npz"], "none.npz does not exist"),
        (["--engine", "mesh", "--assets", "HEAD", "--samples", "0"], "samples is 0"),
        (["--engine", "mesh", "--assets", "HEAD", "--workers", "0"], "workers is 0"),
    ],
)
def test_wrong_requests_are_told_in_one_line(
    arguments: list[str], said: str, heads: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = [str(heads[0]) if a == "HEAD" else a for a in arguments]
    assert cli.main(["synth", str(tmp_path / "out"), *typed]) == 2
    printed = capsys.readouterr().err.strip()
    assert said in printed
    assert "\n" not in printed
    assert not (tmp_path / "out").exists()


def test_without_mitsuba_the_extra_is_named(
    heads: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    arguments = ["synth", str(tmp_path / "out"), "--engine", "mesh", "--assets", *map(str, heads)]
    assert cli.main(arguments) == 2
    assert "pip install 'idfer[mesh]'" in capsys.readouterr().err


def test_the_drawn_engine_never_imports_mitsuba(tmp_path: Path) -> None:
    code = (
        "import sys; from idfer.synthetic.dataset import synth; "
        f"synth({str(tmp_path / 'out')!r}, 1, 1, 16, progress=False); "
        "sys.exit(any(name in sys.modules for name in ('mitsuba', 'drjit', 'idfer.synthetic.mesh.engine')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine be made where Mitsuba is not installed."""
    monkeypatch.setattr("idfer.synthetic.mesh.stage.mitsuba", lambda: None)


def test_what_memory_cannot_hold_is_refused_and_says_what_fits(
    heads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(monkeypatch)
    monkeypatch.setattr(mesh_engine, "available_memory", lambda: 2**31)
    mesh = mesh_engine.Mesh(heads[:1], workers=8)
    with pytest.raises(UsageError, match=r"8 processes that render 96 pixels .* --workers 2 fits"):
        mesh.check(96)
    mesh_engine.Mesh(heads[:1], workers=2).check(96)
    monkeypatch.setattr(mesh_engine, "available_memory", lambda: 2**28)
    with pytest.raises(UsageError, match="ask for a smaller --size"):
        mesh.check(96)
    monkeypatch.setattr(mesh_engine, "available_memory", lambda: None)
    with pytest.raises(UsageError, match="size is 8"):
        mesh.check(8)


def test_by_default_there_are_as_many_processes_as_memory_holds(
    heads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(monkeypatch)
    monkeypatch.setattr(mesh_engine, "cores", lambda: 64)
    for free, wanted in ((2**32, 4), (2**20, 1), (None, 64)):
        monkeypatch.setattr(mesh_engine, "available_memory", lambda free=free: free)
        assert mesh_engine.Mesh(heads[:1]).workers == wanted


def test_everybody_keeps_one_head(heads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch)
    mesh = mesh_engine.Mesh(heads)
    faces = sample(40, 2, seed=2)
    head = mesh.columns(faces)["head"]
    assert set(head) == {"makehuman", "ict"}
    assert (head[::2] == head[1::2]).all()
    assert (mesh.columns(faces.rows([11, 4]))["head"] == head[[11, 4]]).all()
    assert set(mesh_engine.Mesh(heads[1:]).columns(faces)["head"]) == {"ict"}


def test_the_fingerprint_knows_heads_and_samples(heads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch)
    prints = {
        mesh_engine.Mesh(files, samples).fingerprint()
        for files, samples in ((heads[:1], 12), (heads[1:], 12), (heads, 12), (heads[:1], 13))
    }
    assert len(prints) == 4
    assert mesh_engine.Mesh(heads, workers=2).fingerprint() == mesh_engine.Mesh(heads).fingerprint()


def test_landmarks_are_those_of_the_surface(heads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch)
    mesh = mesh_engine.Mesh(heads)
    faces = sample(6, 1, seed=5)
    places = mesh.landmarks(faces, 96)
    level = mesh.landmarks(
        faces.replace(yaw=0.0, pitch=0.0, roll=0.0, shift_x=0.0, shift_y=0.0, scale=1.0), 96
    )
    np.testing.assert_allclose(
        level[:, :2].mean(1), [[48, 41.5]] * 6, atol=1.5
    )  # the eyes are where drawn ones are
    assert (level[:, 1, 0] > level[:, 0, 0] + 20).all()
    assert (level[:, 3:, 1].mean(1) > level[:, 2, 1]).all()  # the mouth is below the nose
    assert (
        mesh.landmarks(faces.replace(yaw=20.0), 96)[:, 2, 0]
        > mesh.landmarks(faces.replace(yaw=-20.0), 96)[:, 2, 0]
    ).all()
    np.testing.assert_allclose(mesh.landmarks(faces, 192), 2 * places, atol=1e-3)
    from idfer.synthetic.mesh import head

    model = head.Model(toy_heads.asset.read(heads[0]))
    who = {name: float(getattr(faces, name)[0]) for name in faces.names()}
    np.testing.assert_allclose(model.sparse.head(who).marks, model.head(who).marks, atol=1e-4)
    np.testing.assert_allclose(model.sparse.head(who).eyes, model.head(who).eyes, atol=1e-4)


def test_a_file_that_was_replaced_is_another_head(
    heads: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(monkeypatch)
    file, faces = tmp_path / "head.npz", sample(2, 1)
    file.write_bytes(heads[0].read_bytes())
    before = mesh_engine.Mesh([file])
    first = before.landmarks(faces, 96)
    file.write_bytes(heads[1].read_bytes())
    after = mesh_engine.Mesh([file]).landmarks(faces, 96)
    np.testing.assert_array_equal(after, mesh_engine.Mesh(heads[1:]).landmarks(faces, 96))
    assert np.abs(after - first).max() > 0.1
    mesh_engine._model.cache_clear()  # as in a process that starts later
    with pytest.raises(IdferError, match=r"head\.npz was replaced while"):
        before.landmarks(faces, 96)


def test_placing_thousands_of_faces_shows_that_it_goes_on(
    heads: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub(monkeypatch)
    mesh_engine.Mesh(heads[:1]).landmarks(sample(3, 1), 96, progress=True)
    printed = capsys.readouterr()
    assert "placing faces" in printed.err and "3/3" in printed.err and not printed.out


# --- writing and resuming, with any engine


def test_manifests_name_the_engine(tmp_path: Path) -> None:
    drawn = synth(tmp_path / "drawn", 2, 2, 16, progress=False)
    other = write_splits({"train": sample(2, 2)}, tmp_path / "other", 16, progress=False, engine=Counting())
    assert set(drawn.frame["engine"]) == {"drawn"}
    assert set(other.frame["engine"]) == {"counting"}
    assert set(other.frame["source"]) == {"idfer-counting"}
    same = [c for c in drawn.frame.columns if c not in {"engine", "source", "landmarks"}]
    pd.testing.assert_frame_equal(drawn.frame[same], other.frame[same])  # captions and factors too


def test_a_killed_rendering_goes_on(tmp_path: Path) -> None:
    faces, out = {"train": sample(5, 2)}, tmp_path / "out"
    first = Counting(fails_after=6)
    with pytest.raises(KeyboardInterrupt):
        write_splits(faces, out, 16, progress=False, engine=first)
    kept = {file: file.stat().st_mtime_ns for file in out.rglob("images/**/*.png")}
    assert len(kept) in (4, 6)  # the batch that was being written may be lost
    assert not (out / "manifest.parquet").exists()
    second = Counting()
    manifest = write_splits(faces, out, 16, progress=False, engine=second)
    sheet = 2 * 8
    assert second.drawn == 10 - len(kept) + sheet
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items())
    assert Manifest.read(out).frame.equals(manifest.frame)
    assert not list(out.rglob("*.part"))


@pytest.mark.parametrize("other", ["engine", "size", "faces"])
def test_another_rendering_starts_anew(other: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        write_splits({"train": sample(3, 2)}, out, 16, progress=False, engine=Counting(fails_after=4))
    second = Counting(fingerprint="b" if other == "engine" else "a")
    faces = {"train": sample(3, 2, seed=1 if other == "faces" else 0)}
    write_splits(faces, out, 17 if other == "size" else 16, progress=False, engine=second)
    assert second.drawn == 6 + 16


def test_a_finished_one_is_drawn_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        counting = Counting()
        write_splits({"train": sample(3, 2)}, out, 16, progress=False, engine=counting)
        assert counting.drawn == 6 + 16


def test_an_image_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        written(path, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(IdferError, match="No space left"):
        write_splits({"train": sample(1, 1)}, tmp_path / "out", 16, progress=False, engine=Counting())
    assert not list((tmp_path / "out").rglob("*.png"))


# --- pictures


@pytest.fixture(scope="module")
def mesh(heads: list[Path]) -> mesh_engine.Mesh:
    pytest.importorskip("mitsuba")
    return mesh_engine.Mesh(heads, samples=2, workers=1)


@pytest.fixture(scope="module")
def faces() -> Factors:
    return sample(4, 1, seed=4).replace(noise=0.0, occlusion=0.0)


def test_the_same_face_in_any_batch(mesh: mesh_engine.Mesh, faces: Factors) -> None:
    together = mesh.render(faces, 20)
    assert together.shape == (4, 3, 20, 20)
    assert together.dtype == torch.uint8
    assert torch.equal(mesh.render(faces.rows([3, 1]), 20), together[[3, 1]])
    batches = np.concatenate(list(mesh.pictures(faces.rows([2, 0, 1, 3, 2]), 20)))
    np.testing.assert_array_equal(batches.transpose(0, 3, 1, 2), together[[2, 0, 1, 3, 2]].numpy())


def test_pictures_show_the_factors(mesh: mesh_engine.Mesh, faces: Factors) -> None:
    one = faces.rows([0]).replace(hair_style=0.0, glasses=0.0, makeup=0.0, light_strength=0.5, yaw=0.0)
    tones = [float(mesh.render(one.replace(skin=t), 24)[:, :, 8:16, 8:16].float().mean()) for t in (2, 6, 9)]
    assert tones[0] > tones[1] + 10 > tones[2] + 20
    base = mesh.render(one, 24).float()
    for change in ({"yaw": 20.0}, {"au26": 1.0, "au25": 1.0}, {"light_x": 1.0}, {"hair_style": 5.0}):
        assert (mesh.render(one.replace(**change), 24).float() - base).abs().mean() > 0.5, change
    stranger = one.replace(identity=99.0)
    assert (mesh.render(stranger, 24).float() - base).abs().mean() > 0.5


def test_what_is_around_the_face_is_the_background(mesh: mesh_engine.Mesh, faces: Factors) -> None:
    one = faces.rows([0]).replace(hair_style=0.0, background_gradient=0.0, exposure=0.0, scale=0.8)
    dark, light = (mesh.render(one.replace(background_value=v), 24).float() for v in (0.1, 0.9))
    corner = (light - dark)[0, :, :3, :3].mean()
    middle = (light - dark)[0, :, 10:14, 10:14].abs().mean()
    assert corner > 50
    assert middle < 5


def test_the_command_writes_a_data_set(
    heads: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mitsuba")
    monkeypatch.setattr(mesh_engine.Mesh, "sheet_size", 16)
    monkeypatch.setattr(mesh_engine.Mesh, "sheet_people", 1)
    out = tmp_path / "out"
    arguments = [
        "--identities",
        "2",
        "--per-identity",
        "2",
        "--size",
        "16",
        "--cross",
        "true",
        "--samples",
        "1",
    ]
    engine_ = ["--engine", "mesh", "--assets", *map(str, heads), "--workers", "1", "--progress", "false"]
    assert cli.main(["synth", str(out), *arguments, *engine_]) == 0
    made = Manifest.read(out)
    assert len(made) == 4
    assert set(made.frame["source"]) == {RENDERED}
    assert set(made.frame["engine"]) == {"mesh"}
    assert made.splits == ["cross"]
    again = engine.engine_of("mesh", heads, 1, 1).render(Factors.from_frame(made.frame), 16)
    import cv2

    for file, picture in zip(made.files, again.numpy(), strict=True):
        read = cv2.imread(str(file))[:, :, ::-1]
        np.testing.assert_array_equal(read, picture.transpose(1, 2, 0))


@pytest.mark.slow
def test_processes_render_the_same(heads: list[Path], faces: Factors, mesh: mesh_engine.Mesh) -> None:
    many = faces.rows([0, 1, 2, 3, 0, 1, 2, 3, 1])
    parallel = mesh_engine.Mesh(heads, samples=2, workers=2)
    got = np.concatenate(list(parallel.pictures(many, 20)))
    np.testing.assert_array_equal(got.transpose(0, 3, 1, 2), mesh.render(many, 20).numpy())


def test_help_of_synth_needs_no_renderer(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["synth", "--help"])
    assert ended.value.code == 0
    assert "--assets" in capsys.readouterr().out


def test_asset_files_can_stand_in_a_configuration_file(tmp_path: Path) -> None:
    from idfer.options import parse

    verb = cli.VERBS["synth"]
    file = tmp_path / "options.yaml"
    file.write_text("engine: mesh\nassets: [a.npz, b.npz]\n", encoding="utf-8")

    def parsed(*arguments: str) -> dict[str, Any]:
        return parse("synth", cli.function_of("synth"), verb.positional, verb.paths, ["out", *arguments])

    assert parsed("--config", str(file))["assets"] == ["a.npz", "b.npz"]
    assert parsed("--config", str(file), "--assets", "c.npz")["assets"] == ["c.npz"]
    assert "assets" not in parsed()
