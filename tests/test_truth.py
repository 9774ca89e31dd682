"""Ground truth in place of retrieval, and what a run that reads ID vectors asks of a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import idfer
from idfer import AttributeTable, IdferError, Manifest, UsageError
from idfer.attributes.truth import with_truth
from idfer.evaluation.suite import measure
from idfer.training.checkpoint import load_checkpoint
from idfer.training.retrieval import aligned, vectors, vectors_for

from conftest import BACKBONE


def known(squares: Manifest, **columns: object) -> Manifest:
    """`squares` with the truth of its table's attributes in factor columns."""
    person = squares.frame["subject"].str[1:].astype(int).to_numpy()
    truth = {
        "factor.tint": np.where(person % 2 == 1, "red", "plain"),
        "factor.group": np.array(["a", "b", "c"])[person % 3],
    }
    return Manifest.from_frame(squares.frame.assign(**truth | columns), squares.root)


def fit(faces: Manifest, table: AttributeTable, out: Path, **options: object) -> Path:
    given = {"backbone": BACKBONE, "size": 32, "batch_size": 16, "dim": 16, "epochs": 1, "progress": False}
    return idfer.fit(faces, table, out=out, device="cpu", **(given | options))


def test_true_levels_are_certain_and_their_words_are_clips(
    squares: Manifest, squares_table: AttributeTable
) -> None:
    faces = known(squares)
    table = with_truth(squares_table, faces)
    assert set(np.unique(table.posteriors)) == {0.0, 1.0}
    np.testing.assert_array_equal(table.top("tint"), faces.frame["factor.tint"])
    np.testing.assert_array_equal(table.top("group"), faces.frame["factor.group"])
    red = (faces.frame["factor.tint"] == "red").to_numpy()
    expected = np.where(red[:, None], squares_table.text[0], squares_table.text[1])
    for retrieval in ("truth", "hard"):
        np.testing.assert_allclose(vectors(table, retrieval)[:, 0], expected)


def test_numbers_of_drawn_faces_become_the_levels_of_the_default_vocabulary(
    squares: Manifest, squares_table: AttributeTable
) -> None:
    levels = {"age": ["young", "middle-aged", "older"], "gender": ["feminine", "masculine"]}
    faces = known(squares, **{"factor.age": np.linspace(0, 1, 96), "factor.gender": np.tile([0.2, 0.8], 48)})
    table = with_truth(replace(squares_table, levels=levels), faces)
    assert [table.top("age")[i] for i in (0, 40, 95)] == ["young", "middle-aged", "older"]
    assert table.top("gender")[:2].tolist() == ["feminine", "masculine"]


def test_what_is_not_known_is_left_out_and_what_does_not_fit_is_named(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group = known(squares).frame["factor.group"].copy()
    group[5] = None
    run = fit(known(squares, **{"factor.group": group}), squares_table, tmp_path / "run", retrieval="truth")
    assert "left out 1 of 72" in (said := capsys.readouterr().err) and "factor.group is empty" in said
    assert load_checkpoint(run).record.settings.retrieval == "truth"
    group[5] = "d"
    with pytest.raises(IdferError, match=r"row 5 \(005\.png\): factor\.group is 'd'.*levels a, b, c"):
        with_truth(squares_table, known(squares, **{"factor.group": group}))
    with pytest.raises(UsageError, match=r"no column 'factor\.tint'.*tint, group.*--use"):
        fit(squares, squares_table, tmp_path / "other", retrieval="truth")
    with pytest.raises(UsageError, match=r"'factor\.group' holds numbers.*a, b, c"):
        with_truth(squares_table, known(squares, **{"factor.group": np.arange(96)}))


def test_truth_trains_on_other_vectors_than_clip_gave(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    faces = known(squares)
    wrong = replace(squares_table, posteriors=np.roll(squares_table.posteriors, 7, axis=0))
    runs = [
        fit(faces, table, tmp_path / f"{i}{retrieval}", retrieval=retrieval)
        for i, table in enumerate((squares_table, wrong))
        for retrieval in ("truth", "soft")
    ]
    weights = [(run / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[2], "CLIP's answers do not matter where the truth is taken"
    assert weights[1] != weights[3] and weights[0] != weights[1]


@pytest.fixture
def reads(squares: Manifest, squares_table: AttributeTable, tmp_path: Path) -> Path:
    """A run of a form that reads ID vectors."""
    return fit(squares, squares_table, tmp_path / "reads", form="residual_post", retrieval="hard")


def test_a_run_that_reads_vectors_takes_them_from_the_table_it_is_evaluated_with(
    reads: Path, squares: Manifest, squares_table: AttributeTable
) -> None:
    checkpoint = load_checkpoint(reads)
    np.testing.assert_array_equal(checkpoint.text, squares_table.text)
    shuffled = squares_table.rows(np.random.default_rng(0).permutation(96)).select(["group", "tint"])
    given = vectors_for(checkpoint, squares, shuffled)
    np.testing.assert_array_equal(given, squares_table.retrieved("hard"))
    kwargs = {"suites": ["accuracy"], "device": "cpu", "progress": False}
    evaluation = measure(checkpoint, squares, shuffled, batch_size=7, **kwargs)
    from idfer.data.images import read_image

    for row in (72, 90):
        pixels = torch.from_numpy(read_image(squares.files[row])).permute(2, 0, 1)[None]
        with torch.inference_mode():
            said = checkpoint.network(
                checkpoint.preprocess.normalise(pixels), retrieved=torch.from_numpy(given[row : row + 1])
            ).valence_arousal[0]
        line = evaluation.predictions.set_index("row").loc[row]
        assert said.tolist() == pytest.approx(
            [line["predicted_valence"], line["predicted_arousal"]], abs=1e-5
        )
    everything = evaluation.detached[evaluation.detached["detached"] == "all"].set_index("row")
    plain = evaluation.predictions.set_index("row").loc[everything.index]
    assert everything["valence"].to_numpy() == pytest.approx(plain["predicted_valence"].to_numpy(), abs=1e-5)


def test_a_face_without_vectors_is_a_row_with_an_error(
    reads: Path, squares: Manifest, squares_table: AttributeTable
) -> None:
    posteriors = squares_table.posteriors.copy()
    posteriors[80] = np.nan
    table = replace(squares_table, posteriors=posteriors)
    evaluation = measure(reads, squares, table, suites=["accuracy"], device="cpu", progress=False)
    bad = evaluation.predictions[evaluation.predictions["error"] != ""]
    assert bad["row"].tolist() == [80] and "no retrieved ID vectors" in bad["error"].iloc[0]


def test_a_missing_or_foreign_table_is_named(
    reads: Path, squares: Manifest, squares_table: AttributeTable
) -> None:
    def ask(table: AttributeTable | None) -> None:
        measure(reads, squares, table, device="cpu", progress=False)

    with pytest.raises(UsageError, match=r"'residual_post' reads retrieved ID vectors.*--attributes"):
        ask(None)
    with pytest.raises(UsageError, match="unknown attribute 'group'"):
        ask(squares_table.select(["tint"]))
    with pytest.raises(IdferError, match=r"trained on ID vectors of CLIP.*retrieve these faces"):
        ask(replace(squares_table, text=np.roll(squares_table.text, 1, axis=1), source={"clip": "B/x"}))


def test_a_run_trained_on_truth_reads_the_truth_again(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path
) -> None:
    faces = known(squares)
    run = load_checkpoint(fit(faces, squares_table, tmp_path / "run", form="simple", retrieval="truth"))
    expected = vectors(aligned(squares_table, faces, "truth"), "truth")
    np.testing.assert_allclose(vectors_for(run, faces, None), expected)
    measure(run, faces, suites=["accuracy"], device="cpu", progress=False)
    with pytest.raises(UsageError, match="no column"):
        measure(run, squares, squares_table, device="cpu", progress=False)
