"""Faces drawn back from features: what the decoder draws, whose it is, and how it is measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from skimage.metrics import structural_similarity

from idfer.cli import main
from idfer.data import loader
from idfer.data.manifest import Manifest
from idfer.data.preprocess import Preprocess
from idfer.decoding import checkpoint as kept
from idfer.decoding import edits, fidelity, gather
from idfer.decoding.fit import decode_fit
from idfer.decoding.gather import room
from idfer.decoding.identify import identification
from idfer.decoding.train import Faces, train_decoder
from idfer.errors import IdferError, UsageError
from idfer.experiments import decode_trial
from idfer.experiments.decode import SHOWN, TARGETS, benchmark_decode, summarised, target_table
from idfer.experiments.decode_measures import Crossed
from idfer.experiments.decode_trial import without_people
from idfer.experiments.protocol import sized
from idfer.models.decoder import Decoder
from idfer.models.flow import Flow
from idfer.models.network import Network
from idfer.reporting.report import evaluate
from idfer.reporting.strips import sheet, write
from idfer.synthetic.factors import sample
from idfer.synthetic.render import render
from idfer.training.checkpoint import load_checkpoint, load_state, save_state
from idfer.training.settings import Settings

from evaluated import SIZE, write_faces
from painted import colour, painted
from runs import record_of, write_run


def learned(epochs: int = 12) -> Decoder:
    crops, reading = painted(256, 0)
    drawn = kept.Drawn("", "", 2, (1, 2), 16, epochs, len(crops))
    decoder = train_decoder(drawn, Faces(crops, reading), batch_size=32, lr=0.003, progress=False)
    assert isinstance(decoder, Decoder)
    return decoder


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    with torch.random.fork_rng():
        return learned()


def test_a_swap_takes_the_givers_colour_and_keeps_the_expression(decoder: Decoder) -> None:
    _, reading = painted(64, 1)
    red = reading.identity[:, 0, 0] == 1
    other = reading.identity.flip(2)
    straight, swapped = (
        colour(edits.draw(decoder, reading.expression, who)) for who in (reading.identity, other)
    )
    assert (straight[red, 0] > straight[red, 2] + 60).all()
    assert (swapped[red, 2] > swapped[red, 0] + 60).all()
    brightness = [values.max(axis=1) for values in (straight, swapped)]
    assert np.corrcoef(brightness[0], reading.expression[:, 0])[0, 1] > 0.9
    assert np.corrcoef(*brightness)[0, 1] > 0.9


def test_detached_a_picture_shows_nothing_of_who_it_is_and_still_the_expression(decoder: Decoder) -> None:
    _, reading = painted(64, 2)
    neutral = edits.draw(decoder, reading.expression, reading.identity, 0.0)
    others = edits.draw(decoder, reading.expression, reading.identity.flip(2), 0.0)
    np.testing.assert_array_equal(neutral, others)
    said = colour(neutral)
    assert np.abs(said[:, 0] - said[:, 2]).mean() < 25  # between red and blue
    assert np.corrcoef(said.sum(axis=1), reading.expression[:, 0])[0, 1] > 0.9


def test_half_a_strength_lies_between(decoder: Decoder) -> None:
    _, reading = painted(16, 3)
    red = reading.rows(reading.identity[:, 0, 0] == 1)
    redness = [
        float(np.diff(colour(edits.draw(decoder, red.expression, red.identity, s))[:, [2, 0]]).mean())
        for s in (0.0, 0.5, 1.0)
    ]
    assert redness[0] < redness[1] < redness[2]


def test_people_cross_expressions_row_by_row(decoder: Decoder) -> None:
    _, reading = painted(3, 4)
    grid = edits.crossed(decoder, reading, reading)
    alone = edits.draw(decoder, reading.expression[2:], reading.identity[1:2], lent=True)
    assert grid.shape == (3, 3, 16, 16, 3)
    np.testing.assert_array_equal(grid[1, 2], alone[0])


def test_a_strength_that_is_no_number_is_refused(decoder: Decoder) -> None:
    _, reading = painted(2, 5)
    with pytest.raises(IdferError, match="not a finite number"):
        edits.draw(decoder, reading.expression, reading.identity, float("nan"))


def test_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = learned(epochs=2)
    crops, reading = painted(256, 0)
    drawn = kept.Drawn("", "", 2, (1, 2), 16, 2, len(crops))

    class Stopped(Exception):
        pass

    calls = 0

    def stop(_: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls > 8:  # an epoch has 8 steps
            raise Stopped
        return reading.expression[:32] * 0  # no gradient: as without

    given = {"batch_size": 32, "lr": 0.003, "folder": tmp_path, "progress": False}
    with pytest.raises(Stopped):
        train_decoder(drawn, Faces(crops, reading), reread=stop, **given)
    resumed = train_decoder(drawn, Faces(crops, reading), **given)
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


def test_what_was_begun_with_another_seed_is_not_gone_on_with(tmp_path: Path) -> None:
    crops, reading = painted(64, 0)
    drawn = kept.Drawn("", "", 2, (1, 2), 16, 1, len(crops))

    def trained(folder: Path | None, seed: int) -> Decoder | Flow:
        faces = Faces(crops, reading)
        return train_decoder(drawn, faces, batch_size=32, seed=seed, folder=folder, progress=False)

    trained(tmp_path, 0)
    again, alone = (trained(folder, 1).state_dict() for folder in (tmp_path, None))
    for a, b in zip(again.values(), alone.values(), strict=True):
        torch.testing.assert_close(a, b)


def test_what_was_begun_with_other_faces_is_not_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (one, reading), (other, _) = painted(64, 0), painted(64, 1)
    drawn = kept.Drawn("", "", 2, (1, 2), 16, 1, len(one))

    def trained(folder: Path | None, crops: torch.Tensor, **more: torch.Tensor) -> dict[str, torch.Tensor]:
        given = {"batch_size": 32, "folder": folder, "progress": False}
        return train_decoder(drawn, Faces(crops, reading, **more), **given).state_dict()

    trained(tmp_path, one)
    assert capsys.readouterr().err == ""
    again, alone = trained(tmp_path, other), trained(None, other)
    assert "a decoder was begun there of other faces; it is trained from the start" in capsys.readouterr().err
    assert all(torch.equal(again[name], alone[name]) for name in alone)
    trained(tmp_path, other, person=torch.arange(64) % 4)
    assert "of other faces" in capsys.readouterr().err
    state = load_state(tmp_path)
    del state["faces"]  # as an earlier version wrote it
    save_state(tmp_path, state)
    trained(tmp_path, other, person=torch.arange(64) % 4)
    assert "by an earlier idfer, of faces that it did not note" in capsys.readouterr().err


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_pictures_have_the_size_asked_for(size: int) -> None:
    for kind in (Decoder, Flow):
        decoder = kind(2, (3, 4), size)
        asked = decoder.condition(torch.zeros(1, 2), torch.zeros(1, 3, 4), torch.ones(1, 3), torch.zeros(1))
        with torch.no_grad():
            assert decoder.sample(asked).shape == (1, 3, size, size)


# ---- the command


NAMES = ("gender", "age")


def run_at(
    folder: Path, seed: int = 0, names: tuple[str, ...] = NAMES, mirror: bool = False, **contract: str
) -> Path:
    """An untrained run: one that reads levels from its identity features, or with no names a plain one."""
    torch.manual_seed(seed)
    levels = [2] * len(names)
    network = Network("conv4", SIZE, names, dim=8, levels=levels)
    known: dict[str, Any] = {"mirror": mirror} | ({"attachment": "evidence"} if names else {})
    return write_run(folder, network, record_of("conv4", names, 8, Preprocess(SIZE, **contract), **known))


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """An untrained run of a method that splits, and faces beside it."""
    write_faces(tmp_path, ["train"])
    return run_at(tmp_path / "run")


def test_a_decoder_is_trained_and_draws_three_sheets(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = next(trained.parent.glob("*.parquet"))
    assert main(["decode", "fit", str(trained), str(manifest), "--epochs", "1", "--progress", "false"]) == 0
    assert (trained / "decoder" / kept.WEIGHTS).is_file()
    assert not (trained / "decoder" / "state.safetensors").exists()
    faces = [str(trained.parent / f"train-{person}-0.png") for person in range(2)]
    out = trained.parent / "sheets" / "strip.png"
    assert main(["decode", str(trained), *faces, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    for name in ("strip.png", "strip-strengths.png", "strip-grid.png"):
        assert name in said
        with Image.open(out.with_name(name)) as sheet:
            assert sheet.width > 200


def test_a_sheet_that_would_lie_where_a_folder_is_is_refused_at_once(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "strip-grid.png").mkdir()
    said = refused("decode", str(trained), "ann.png", "-o", str(tmp_path / "strip.png"), capsys=capsys)
    assert "strip-grid.png is a folder" in said


def test_pictures_larger_than_memory_lie_in_a_file_and_teach_the_same(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = next(trained.parent.glob("*.parquet"))
    (trained.parent / "train-3-1.png").write_bytes(b"no picture")
    made = []

    def noted(*args: Any) -> np.ndarray:
        made.append(room(*args))
        return made[-1]

    monkeypatch.setattr(gather, "room", noted)
    weights = []
    for limit in (loader.MEMORY_LIMIT, 0):
        monkeypatch.setattr(loader, "MEMORY_LIMIT", limit)
        out = tmp_path / f"below-{limit}"
        decode_fit(trained, manifest, size=16, epochs=2, batch_size=16, out=out, progress=False)
        assert {file.name for file in out.iterdir()} == {kept.CONFIG, kept.WEIGHTS}
        weights.append(load_file(out / kept.WEIGHTS))
    assert [isinstance(pictures, np.memmap) for pictures in made] == [False, True]
    np.testing.assert_array_equal(made[0][:47], made[1][:47])  # of 48 faces one cannot be read
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_features_of_both_mirror_images_are_shown_one_picture(trained: Path, tmp_path: Path) -> None:
    faces = Manifest.read(next(trained.parent.glob("*.parquet")))
    both = load_checkpoint(run_at(tmp_path / "mirror", mirror=True))
    assert gather.gather(both, faces, 16, tmp_path, None, False)[0].mirrored is None
    assert gather.gather(load_checkpoint(trained), faces, 16, tmp_path, None, False)[0].mirrored is not None


def test_pictures_that_no_disk_has_room_for_are_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loader, "MEMORY_LIMIT", 0)
    monkeypatch.setattr(gather, "free_disk", lambda _: 1000)
    manifest = str(next(trained.parent.glob("*.parquet")))
    said = refused(
        "decode", "fit", str(trained), manifest, "-o", str(tmp_path / "new" / "decoder"), capsys=capsys
    )
    assert "48 pictures of 32 pixels a side need" in said and "smaller --size" in said
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_take_a_decoder_is_refused_before_any_work(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gather, "gather", lambda *_: pytest.fail("faces were read"))
    manifest = str(next(trained.parent.glob("*.parquet")))
    (tmp_path / "file").touch()
    said = refused("decode", "fit", str(trained), manifest, "-o", str(tmp_path / "file" / "d"), capsys=capsys)
    assert "file is a file, not a folder; choose another -o" in said
    said = refused("decode", "fit", "synthetic-tiny", manifest, capsys=capsys)
    assert "synthetic-tiny comes with idfer" in said and "--out DIR" in said


def test_a_decoder_of_another_run_is_refused(trained: Path, tmp_path: Path) -> None:
    manifest = next(trained.parent.glob("*.parquet"))
    folder = decode_fit(trained, manifest, epochs=1, progress=False, out=tmp_path / "decoder")
    other = run_at(tmp_path / "other", seed=1)
    with pytest.raises(UsageError, match="decoder of another run"):
        kept.load(folder, load_checkpoint(other))
    with pytest.raises(UsageError, match="decoder of another run"):  # the same weights, other features
        kept.load(folder, load_checkpoint(run_at(tmp_path / "mirror", mirror=True)))
    with pytest.raises(UsageError, match="idfer decode fit"):
        kept.load(tmp_path / "nothing", load_checkpoint(other))
    (folder / kept.WEIGHTS).write_bytes(b"cut")
    with pytest.raises(IdferError, match="damaged"):
        kept.load(folder, load_checkpoint(trained))


def test_a_control_is_shown_beside_the_run_whose_identity_it_was_given(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, manifest = trained.parent, str(next(trained.parent.glob("*.parquet")))
    plain = run_at(root / "erm", seed=3, names=())
    decode_fit(trained, manifest, epochs=1, progress=False)
    decode_fit(plain, manifest, identity=trained, epochs=1, progress=False)
    faces = [str(root / f"train-{person}-0.png") for person in range(2)]
    widths = {}
    for name, more in (("alone", []), ("beside", ["--control", str(plain)])):
        assert main(["decode", str(trained), *faces, *more, "-o", str(root / f"{name}.png")]) == 0
        with Image.open(root / f"{name}.png") as sheet:
            widths[name] = sheet.width
    assert widths["beside"] > widths["alone"] + 100  # a column more
    other = run_at(root / "other", seed=4)
    decode_fit(other, manifest, epochs=1, progress=False)
    said = refused("decode", str(other), *faces, "--control", str(plain), capsys=capsys)
    assert "decoder of another run" in said
    narrow = run_at(root / "boxes", names=(), detector="box")
    assert "cuts faces otherwise" in refused(
        "decode", "fit", str(narrow), manifest, "--identity", str(trained), capsys=capsys
    )


def test_an_evaluation_shows_what_the_decoder_beside_a_run_draws(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, manifest = trained.parent, next(trained.parent.glob("*.parquet"))
    frame = pd.read_parquet(manifest).assign(split="balanced")
    frame.to_parquet(tested := root / "tested.parquet")

    def page(run: Path) -> str:
        evaluate(
            run, tested, out=root / f"{run.name}-report", controls=False, show_faces=True, progress=False
        )
        return (root / f"{run.name}-report" / "report.html").read_text()

    assert "drawn back" not in page(trained)
    decode_fit(trained, manifest, epochs=1, progress=False)
    said = page(trained)
    people = frame["subject"].nunique()
    assert f"at the first guess among {people} people" in said
    assert f"By chance {1 / people:.3f}" in said and "age detached" in said and "data:image/png" in said
    other = run_at(root / "other", seed=5)
    shutil.copytree(trained / "decoder", other / "decoder")
    capsys.readouterr()
    assert "drawn back" not in page(other)
    assert "decoder of another run" in capsys.readouterr().err


def test_a_run_that_reads_no_levels_needs_a_table_for_strengths(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = trained.parent
    torch.manual_seed(0)
    mute = write_run(
        root / "mute", Network("conv4", SIZE, NAMES, dim=8), record_of("conv4", NAMES, 8, Preprocess(SIZE))
    )
    decode_fit(mute, next(root.glob("*.parquet")), epochs=1, progress=False)
    assert main(["decode", str(mute), str(root / "train-0-0.png"), "-o", str(root / "mute.png")]) == 0
    said = capsys.readouterr().out
    assert "--attributes attributes.parquet" in said and "mute-strengths.png" not in said
    assert (root / "mute.png").is_file() and not (root / "mute-strengths.png").exists()


def refused(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(list(arguments)) in (1, 2)
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_what_cannot_be_decoded_is_named(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, run = trained.parent, str(trained)
    manifest = str(next(root.glob("*.parquet")))
    plain = run_at(root / "erm", names=())
    picture = str(root / "train-0-0.png")
    assert "no identity features" in refused("decode", "fit", str(plain), manifest, capsys=capsys)
    assert "not 48" in refused("decode", "fit", run, manifest, "--size", "48", capsys=capsys)
    assert "idfer decode fit" in refused("decode", run, picture, capsys=capsys)
    decode_fit(run, manifest, epochs=1, progress=False)
    assert "joined by commas" in refused("decode", run, picture, "--strengths", "0,much", capsys=capsys)
    assert "ends in .png" in refused("decode", run, picture, "-o", str(root / "x.bmp"), capsys=capsys)
    grey = root / "grey.png"
    Image.new("RGB", (64, 64), (90, 90, 90)).save(grey)
    said = refused("decode", run, str(grey), "--detector", "haar", "-o", str(root / "x.png"), capsys=capsys)
    assert "no face" in said and not (root / "x.png").exists()


# ---- measures


def test_errors_are_those_of_the_pixels_that_should_change() -> None:
    before = np.full((1, 4, 4, 3), 100, np.uint8)
    true = before.copy()
    true[0, :2] = 151  # the upper half changes
    mask = fidelity.changed(before, true)
    assert mask.sum() == 8
    assert fidelity.psnr(before, true, mask) == pytest.approx(-20 * np.log10(51 / 255))
    assert fidelity.psnr(before, true) == pytest.approx(-10 * np.log10((51 / 255) ** 2 / 2))


def test_ssim_is_scikit_images() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 256, (2, 24, 24, 3)).astype(np.uint8)
    drawn = np.clip(true + rng.normal(0, 30, true.shape), 0, 255).astype(np.uint8)
    theirs = [
        structural_similarity(
            a,
            b,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
        for a, b in zip(drawn, true, strict=True)
    ]
    assert fidelity.ssim(drawn, true) == pytest.approx(np.mean(theirs), abs=1e-3)


def test_spread_is_the_distance_between_two_people() -> None:
    pictures = np.zeros((4, 2, 2, 3), np.uint8)
    pictures[1], pictures[3] = 51, 102  # two people, two expressions
    expression = np.array([0, 0, 1, 1])
    assert fidelity.spread(pictures, expression) == pytest.approx(np.sqrt((0.2**2 + 0.4**2) / 2))


def test_identification_finds_who_is_in_the_pictures_and_guesses_otherwise() -> None:
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(20), 10)
    probe = np.tile(np.arange(10) % 2 == 1, 20)
    looks = rng.integers(60, 200, (20, 6, 6, 3))
    noise = rng.normal(0, 25, (200, 6, 6, 3))
    told = np.clip(looks[person] + noise, 0, 255).astype(np.uint8)
    silent = np.clip(128 + noise, 0, 255).astype(np.uint8)

    def named(pictures: np.ndarray) -> float:
        return identification(pictures[~probe], person[~probe], pictures[probe], person[probe])

    assert named(told) > 0.9
    assert named(silent) < 0.2
    assert named(np.full((200, 6, 6, 3), 90, np.uint8)) <= 0.1
    with pytest.raises(IdferError, match="none in the gallery"):
        identification(told[person != 3], person[person != 3], told, person)


def test_identification_with_few_or_uneven_faces_in_the_gallery() -> None:
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(20, 30))
    for counts in ([1] * 20, [2] + [1] * 19):  # one face each: LDA needs more than there are people
        known = np.repeat(np.arange(20), counts)
        gallery = looks[known] + 0.3 * rng.normal(size=(len(known), 30))
        assert identification(gallery, known, looks + 0.3 * rng.normal(size=(20, 30)), np.arange(20)) == 1.0
    known, hits = np.repeat(np.arange(20), [6] * 4 + [2] * 16), []
    for _ in range(40):  # nothing tells anybody: chance, though four people have three times as many faces
        gallery, probes = rng.normal(size=(2, len(known), 10))
        hits.append(identification(gallery, known, probes, known))
    assert np.mean(hits) < 0.065


def test_the_truth_of_a_swap_is_the_giver_with_this_expression() -> None:
    people, shown = 5, 4
    value = np.arange(people * shown, dtype=np.uint8)
    crossed = Crossed.of(np.tile(value[:, None, None, None], (1, 2, 2, 3)), people, shown, seed=0)
    person, expression = crossed.person, crossed.expression
    assert (person[crossed.giver] != person).all()
    assert (expression[crossed.giver] != expression).all()
    np.testing.assert_array_equal(person[crossed.target], person[crossed.giver])
    np.testing.assert_array_equal(expression[crossed.target], expression)
    assert crossed.anybody[1, 0, 0, 0] == np.mean(value[1::shown]).round()


@pytest.mark.parametrize("name", ["a$b_$c", "$\\frac$", "x^$_$"])
def test_a_name_of_any_file_stands_on_a_sheet(tmp_path: Path, name: str) -> None:
    faces = np.zeros((1, 1, 16, 16, 3), np.uint8)
    write(sheet(faces, [name], [name], name), file := tmp_path / "sheet.svg")
    assert file.is_file()


def test_a_sheet_of_many_faces_is_small_enough_for_a_repository(tmp_path: Path) -> None:
    faces = render(sample(8, 8), 64).permute(0, 2, 3, 1).numpy()
    write(sheet(faces.reshape(4, 16, 64, 64, 3), [""] * 16, ["a"] * 4), file := tmp_path / "sheet.webp")
    assert file.stat().st_size < 400_000
    with Image.open(file) as picture:
        assert picture.width / 16 > 64  # no face is smaller than it was drawn


def test_targets_are_met_or_not_by_their_numbers() -> None:
    ours = {"swap_psnr": 15.0, "detach_psnr": 20.0, "swap_va_rmse": 0.1, "identify_mean": 0.05,
            "identify_sampled": 0.01, "neutral_spread": 0.05}  # fmt: skip
    erm = ours | {"swap_psnr": 11.0, "detach_psnr": 18.0, "identify_mean": 0.5}
    rows = [{"idfer": ours, "erm": erm, "photographs": {"neutral_spread": 0.25}}] * 2
    found = summarised(rows, people=100)
    assert found["swap_psnr_gain_db"].value == pytest.approx(4.0)
    assert found["identify_sampled_over_chance"].value == pytest.approx(1.0)
    assert found["identify_mean_over_erm"].value == pytest.approx(0.1)
    assert found["neutral_distance_ratio"].value == pytest.approx(0.2)
    flat = {name: {"value": e.value, "low": e.low, "high": e.high} for name, e in found.items()}
    met = {line[0].split(",")[0]: line[-1] for line in target_table(flat)[1:]}
    assert met["swap"] == "yes" and met["ID-neutral"] == "no"


def test_a_run_whose_faces_were_placed_by_boxes_gets_a_decoder(trained: Path) -> None:
    manifest = next(trained.parent.glob("*.parquet"))
    placed = run_at(trained.parent / "boxes", detector="box")
    frame = pd.read_parquet(manifest).assign(x=0.0, y=0.0, width=float(SIZE), height=float(SIZE))
    frame.to_parquet(boxed := trained.parent / "boxed.parquet")
    assert (decode_fit(placed, boxed, epochs=1, progress=False) / kept.WEIGHTS).is_file()


def test_judges_learn_from_people_who_are_in_no_decoder_and_no_test() -> None:
    columns = {"path": "x", "valence": 0.0, "arousal": 0.0, "factor.cohort": 5.0, "split": "probed"}
    table = pd.DataFrame([columns | {"path": f"{k}", "factor.identity": k // 2} for k in range(8)])
    faces = Manifest.from_frame(table, ".")
    crossed = faces.rows(np.array([0, 5]))  # of persons 0 and 2
    strangers = without_people(faces, crossed)
    assert strangers.frame["factor.identity"].tolist() == [1, 1, 3, 3]
    assert strangers.splits == ["train"]


def test_what_other_code_trained_is_not_taken_for_this_code_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol, settings = sized("tiny")[0], Settings.of(method="erm")
    changed = ""

    def digest(parts: Sequence[str]) -> str:
        return f"{changed in parts}"

    monkeypatch.setattr(decode_trial, "digest_of_source", digest)
    folders = {}
    for changed in ("", "decoding", "training"):
        folders[changed] = decode_trial.kept_in(tmp_path, protocol, 7, settings, settings, 1, "fast")
    (runs, decoders), (same, other), (new, newer) = folders.values()
    assert runs == same != new  # a run does not hang on how decoders learn
    assert decoders not in (other, newer)


@pytest.mark.slow
def test_the_tiny_benchmark_measures_what_it_says_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"out": tmp_path / "results", "runs": tmp_path / "runs"}
    asked = {"seeds": [7], "size": "tiny", "development": True, "workers": 1, "progress": False}
    said = benchmark_decode(**where, **asked)
    content = json.loads((tmp_path / "results" / "decode.json").read_text())
    assert list(content["summary"]) == list(TARGETS)
    (row,) = content["rows"]
    assert set(SHOWN) <= set(row["idfer"]) == set(row["erm"]) == set(row["true factors"])
    assert np.isfinite([value for of in ("idfer", "erm", "photographs") for value in row[of].values()]).all()
    assert row["true factors"]["feature_mean"] == pytest.approx(1 / 12)  # factors of expression tell nobody
    assert not (tmp_path / "results" / "history.md").exists()
    assert content["means"]["idfer"] == pytest.approx({k: v for k, v in row["idfer"].items()})
    for name in ("strip", "swap", "neutral"):
        picture = tmp_path / "results" / f"decode-{name}.webp"
        assert str(picture) in said
        assert 1000 < picture.stat().st_size < 400_000
        with Image.open(picture) as sheet:
            assert sheet.width > 200

    def trained() -> dict[Path, int]:
        return {f: f.stat().st_mtime_ns for f in (tmp_path / "runs").rglob("*.safetensors")}

    def again() -> dict[str, Any]:
        for result in (tmp_path / "runs" / "jobs").iterdir():
            result.unlink()  # as if it had been interrupted at the very end: decoders are read, not trained
        assert benchmark_decode(**where, **asked) == said
        return json.loads((tmp_path / "results" / "decode.json").read_text())

    before = trained()
    assert again()["rows"] == content["rows"] and trained() == before
    digest = decode_trial.digest_of_source
    monkeypatch.setattr(
        decode_trial, "digest_of_source", lambda parts: digest(parts) + "-new" * ("decoding" in parts)
    )
    assert again()["rows"] == content["rows"]
    new = {f.parent.parent.parent.name for f in trained().keys() - before.keys()}
    assert new == {"decoders"}, "runs are the same code's, decoders are not"
