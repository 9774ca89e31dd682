"""One pass over any model: draws keyed by face, foreign models as they are, and what a model may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from idfer import IdferError, Manifest, UsageError
from idfer.data.loader import FaceDataset
from idfer.data.preprocess import Preprocess
from idfer.evaluation.forward import MEAN, Pass
from idfer.evaluation.models import open_model
from idfer.evaluation.suite import measure
from idfer.models.network import Network
from idfer.objectives.budget import rate
from idfer.training.checkpoint import Checkpoint
from idfer.types import FaceModel, Outputs

from runs import record_of


def checkpoint(code: int = 0) -> Checkpoint:
    torch.manual_seed(0)
    network = Network("conv4", 32, dim=8, code=code).eval()
    preprocess = Preprocess(32, 0.0, mean=(0.5,) * 3, std=(0.5,) * 3)
    return Checkpoint(network, record_of("conv4", [], 8, preprocess, code=code), "hand", Path("hand"))


def test_answers_hold_a_seeded_sample_and_its_rate_where_there_is_a_budget(squares: Manifest) -> None:
    plain = Pass().run(checkpoint(), squares)
    assert plain.rate is None
    assert MEAN not in plain.features
    assert plain.mean is plain.feature("expression")
    first, again = (Pass(batch_size, seed=1).run(checkpoint(code=4), squares) for batch_size in (256, 7))
    other = Pass(seed=2).run(checkpoint(code=4), squares)
    assert first.mean.shape == first.feature("expression").shape == (len(squares), 4)
    np.testing.assert_allclose(first.feature("expression"), again.feature("expression"), atol=1e-5)
    assert not np.allclose(first.feature("expression"), other.feature("expression"), atol=1e-2)
    np.testing.assert_allclose(first.valence_arousal, other.valence_arousal)  # from the mean: no chance in it
    made = checkpoint(code=4)
    pixels = FaceDataset(squares, made.preprocess).load(progress=False).pixels
    assert pixels is not None
    with torch.no_grad():
        said = made.network(made.preprocess.normalise(pixels), sample=False)
        np.testing.assert_allclose(first.rate, rate(said.mean, said.log_variance), rtol=1e-4)


def test_a_faces_draw_hangs_on_the_face_and_the_seed_alone(squares: Manifest) -> None:
    whole = Pass(seed=3).run(checkpoint(code=4), squares)
    turned = np.arange(len(squares))[::-1][:40]
    part = Pass(seed=3).run(checkpoint(code=4), squares.rows(turned))
    np.testing.assert_allclose(part.feature("expression"), whole.feature("expression")[turned], atol=1e-5)
    chosen = Pass(seed=3, feature_rows=np.array([5, 9])).run(checkpoint(code=4), squares)
    assert chosen.feature_rows.tolist() == [5, 9]
    np.testing.assert_allclose(chosen.feature("expression"), whole.feature("expression")[[5, 9]], atol=1e-5)
    evaluated = measure(
        checkpoint(code=4), squares, splits=["train", "val"], seed=3, controls=False, device="cpu",
        progress=False, replicates=2,
    )  # fmt: skip
    np.testing.assert_allclose(evaluated.features["expression"], whole.feature("expression"), atol=1e-5)


class Bare:
    """A model that is none of idfer's: brightness above is valence, below arousal."""

    name, attributes, preprocess = "bare", (), Preprocess(8)

    def predict(self, crops: np.ndarray, strength: Any = None) -> Outputs:
        halves = np.stack([crops[:, :4].mean((1, 2, 3)), crops[:, 4:].mean((1, 2, 3))], axis=1)
        return Outputs((halves - 128) / 100, {"halves": halves})


def test_a_model_that_is_none_of_ours_is_evaluated_as_it_is(squares: Manifest, tmp_path: Path) -> None:
    assert isinstance(Bare(), FaceModel)
    assert isinstance(checkpoint(), FaceModel)
    found = measure(Bare(), squares, splits=["train"], progress=False, replicates=50)
    ccc = found.accuracy.query("metric == 'ccc' and dimension == 'mean'")["value"].item()
    assert ccc > 0.9
    assert set(found.features) == {"halves", "prediction", "labels"}
    assert found.metrics["run"] == {
        "name": "bare", "path": "", "method": "Bare", "attributes": [], "config": {},
    }  # fmt: skip
    assert found.metrics["certificate"] is None
    assert "bare" in set(found.frame()["run"])


def test_a_model_is_named_by_module_and_class(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "somebody.py").write_text(
        "from idfer.types import Outputs\nfrom idfer.data.preprocess import Preprocess\n"
        "class Zero:\n"
        "    name, attributes, preprocess = 'zero', (), Preprocess(8)\n"
        "    def predict(self, crops, strength=None):\n"
        "        return Outputs(crops[:, 0, 0, :2] * 0.0)\n"
        "def make(): return Zero()\nready = Zero()\nhalf = object()\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("Zero", "make", "ready"):
        assert open_model(f"somebody:{name}").name == "zero"
    with pytest.raises(UsageError, match="object is no FaceModel: it lacks name, attributes"):
        open_model("somebody:half")
    with pytest.raises(UsageError, match="somebody has no 'Zreo'"):
        open_model("somebody:Zreo")
    with pytest.raises(UsageError, match="there is no module 'nobody'"):
        open_model("nobody:Zero")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (lambda n: np.zeros((n, 2)), "gave ndarray; it must give idfer.types.Outputs"),
        (lambda n: Outputs(np.zeros((n, 3))), r"valence_arousal of \(96, 3\) for 96 faces; wanted \(96, 2\)"),
        (lambda n: Outputs([[0, 0]] * n), "valence_arousal of list"),
        (lambda n: Outputs(np.full((n, 2), np.nan)), r"valence_arousal of row 0 \(000.png\) is not finite"),
        (lambda n: Outputs(np.zeros((n, 2)), {"z": np.zeros(n)}), r"features\['z'\] of \(96,\)"),
        (lambda n: Outputs(np.zeros((n, 2)), rate=np.zeros((n, 1))), r"rate of \(96, 1\)"),
    ],
)
def test_what_a_model_may_not_say_is_named(outputs: Any, message: str, squares: Manifest) -> None:
    class Odd(Bare):
        def predict(self, crops: np.ndarray, strength: Any = None) -> Outputs:
            said: Outputs = outputs(len(crops))
            return said

    with pytest.raises(IdferError, match=message):
        Pass().run(Odd(), squares)


def test_predictions_on_another_scale_and_whole_photographs_are_told(squares: Manifest) -> None:
    class Loud(Bare):
        def predict(self, crops: np.ndarray, strength: Any = None) -> Outputs:
            return Outputs(10 * super().predict(crops).valence_arousal)

    photographs = Manifest.from_frame(squares.frame.assign(detector=""), squares.root)
    loud, bare = (
        {check.code for check in measure(model, photographs, suites=["accuracy"], progress=False).checks}
        for model in (Loud(), Bare())
    )
    assert "IDF110" in loud and "IDF102" not in loud
    assert "IDF111" in bare and not {"IDF107", "IDF110"} & bare


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 5}, "its name is 5; it must be text"),
        ({"preprocess": None}, "its preprocess is NoneType"),
    ],
)
def test_a_model_with_odd_parts_is_refused_before_any_work(change: dict[str, Any], message: str) -> None:
    odd = Bare()
    for name, value in change.items():
        setattr(odd, name, value)
    with pytest.raises(UsageError, match=message):
        open_model(odd)


def test_few_people_are_said_and_no_empty_table_is_printed(squares: Manifest) -> None:
    few = squares.rows(np.arange(24))  # three people
    said = str(measure(checkpoint(), few, splits=["train"], device="cpu", progress=False, replicates=5))
    assert "Empty DataFrame" not in said
    assert "not measured" in said
    with pytest.raises(UsageError, match="--seed is -1"):
        measure(checkpoint(), squares, seed=-1)
