"""How decoders learn: attributes in all features, lent identities, flows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from idfer.decoding import checkpoint as kept
from idfer.decoding import edits
from idfer.decoding.concepts import Concepts
from idfer.decoding.reading import Reading
from idfer.decoding.train import Faces, Partners, train_decoder
from idfer.errors import UsageError
from idfer.models.flow import Flow

from painted import colour, painted

# ---- one attribute in all features, and lent identities


def told_everywhere(count: int, seed: int) -> tuple[Reading, np.ndarray, np.ndarray, np.ndarray]:
    """Features that all tell age, some gender too, and one valence; and what is known of the faces.

    Age and valence go together, as in data with a stereotype.
    """
    rng = np.random.default_rng(seed)
    age, gender = rng.normal(size=(2, count))
    valence = 0.7 * age + rng.normal(size=count)
    noise = rng.normal(0, 0.3, (count, 2 + 2 * 3))
    told = noise + age[:, None] * rng.normal(1, 0.5, 8)
    told[:, 0] += 2 * valence
    told[:, 2:5] += gender[:, None]
    flat = torch.from_numpy(told.astype(np.float32))
    faces = Reading(flat[:, :2], torch.zeros(count, 2), flat[:, 2:].reshape(-1, 2, 3))
    return faces, age, gender, valence


def test_detached_an_attribute_is_gone_from_every_feature_and_nothing_else_is() -> None:
    faces, age, gender, valence = told_everywhere(4000, 0)
    levels = {name: np.stack([x, -x], 1) for name, x in (("age", age), ("gender", gender))}
    concepts = Concepts.fit(faces, levels, np.stack([valence, age * 0], 1))
    detached = concepts.at(faces, "age", 0.0)

    def told(read: Reading, known: np.ndarray) -> np.ndarray:
        flat = torch.cat([read.expression, read.identity.flatten(1)], 1).numpy()
        return np.abs(np.corrcoef(flat.T, known)[-1, :-1])

    only_age = age - valence * np.dot(age, valence) / np.dot(valence, valence)
    assert (told(faces, only_age)[1:] > 0.3).all()
    assert (told(detached, only_age) < 0.06).all()
    np.testing.assert_allclose(concepts.read(detached, "gender"), concepts.read(faces, "gender"), atol=1e-3)
    np.testing.assert_allclose(concepts.read(detached, "age"), 0, atol=1e-3)
    np.testing.assert_allclose(
        concepts.read(concepts.at(faces, "age", -1.0), "age"), -concepts.read(faces, "age"), atol=1e-3
    )
    assert np.corrcoef(detached.expression[:, 0], valence)[0, 1] > 0.9
    torch.testing.assert_close(concepts.at(faces, "age", 1.0).identity, faces.identity)


def test_a_lent_attribute_is_the_givers_and_the_others_are_ones_own() -> None:
    faces, age, gender, valence = told_everywhere(400, 1)
    levels = {name: np.stack([x, -x], 1) for name, x in (("age", age), ("gender", gender))}
    concepts = Concepts.fit(faces, levels, np.stack([valence, age * 0], 1))
    givers = faces.rows(torch.arange(400).flip(0))
    lent = concepts.lent(faces, givers, "age")
    torch.testing.assert_close(concepts.read(lent, "age"), concepts.read(givers, "age"), atol=1e-3, rtol=0)
    torch.testing.assert_close(
        concepts.read(lent, "gender"), concepts.read(faces, "gender"), atol=1e-3, rtol=0
    )
    with pytest.raises(UsageError, match="gender"):
        concepts.lent(faces, givers, "gendr")


def test_partners_are_other_faces_of_the_same_person() -> None:
    person = torch.tensor([2, 0, 1, 0, 2, 2, 3, 0])
    partners = Partners.of(person)
    assert partners is not None
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(8).repeat(50)
    drawn = partners.draw(rows, generator)
    assert (person[drawn] == person[rows]).all()
    alone = torch.isin(person[rows], torch.tensor([1, 3]))
    assert (drawn[alone] == rows[alone]).all() and (drawn[~alone] != rows[~alone]).all()
    assert set(drawn[rows == 0].tolist()) == {4, 5}


def test_a_lent_identity_does_not_bring_its_own_photograph_along() -> None:
    """Brightness is told by the expression feature, and better by the identity feature of the photograph."""
    crops, reading = painted(256, 0)
    shown, who = reading.expression[:, :1], reading.identity[:, 0, :1].long().ravel()
    noisy = shown + 0.5 * torch.randn(shown.shape, generator=torch.Generator().manual_seed(9))
    leaky = torch.cat([reading.identity[:, 0], shown], 1)[:, None]
    faces = Faces(crops, Reading(noisy, torch.zeros_like(noisy), leaky), person=who)
    drawn = kept.Drawn("", "", 1, (1, 3), 16, 16, len(crops))
    decoder = train_decoder(drawn, faces, batch_size=32, lr=0.003, progress=False)
    giver = torch.arange(256).roll(100)
    follows = {}
    for lent in (False, True):
        brightness = colour(edits.draw(decoder, noisy, leaky[giver], lent=lent)).max(axis=1)
        follows[lent] = [
            np.corrcoef(brightness, of[:, 0])[0, 1] for of in (shown[giver].numpy(), noisy.numpy())
        ]
    (giver_plain, _), (giver_lent, own_lent) = follows[False], follows[True]
    assert giver_plain > 0.3
    assert abs(giver_lent) < giver_plain / 2
    assert own_lent > 0.9


def test_where_nobody_has_two_faces_a_swap_is_drawn_as_ones_own() -> None:
    crops, reading = painted(64, 0)
    drawn = kept.Drawn("", "", 2, (1, 2), 16, 1, len(crops))
    faces = Faces(crops, reading, person=torch.arange(64))
    decoder = train_decoder(drawn, faces, batch_size=32, progress=False)
    own, lent = (
        edits.draw(decoder, reading.expression, reading.identity, lent=lent) for lent in (False, True)
    )
    np.testing.assert_array_equal(own, lent)
    assert len(np.unique(colour(own), axis=0)) > 2  # and is not everybody's


# ---- flow


def test_a_flow_learns_to_draw_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idfer.models.flow._CHANNELS", (32,) * 5)  # seconds
    crops, reading = painted(128, 0)
    drawn = kept.Drawn("", "", 2, (1, 2), 16, 25, len(crops), "flow")
    flow = train_decoder(drawn, Faces(crops, reading), batch_size=32, lr=0.003, progress=False)
    assert isinstance(flow, Flow)
    _, asked = painted(16, 1)
    red = (asked.identity[:, 0, 0] == 1).numpy()
    said = colour(edits.draw(flow, asked.expression, asked.identity))
    assert (said[red, 0] > said[red, 2] + 40).all()
    assert (said[~red, 2] > said[~red, 0] + 40).all()
    assert np.corrcoef(said.max(axis=1), asked.expression[:, 0])[0, 1] > 0.8
    again = edits.draw(flow, asked.expression, asked.identity)
    np.testing.assert_array_equal(colour(again), said)
    assert not np.array_equal(edits.draw(flow, asked.expression, asked.identity, seed=1), again)


def test_an_unknown_kind_of_decoder_is_named() -> None:
    with pytest.raises(UsageError, match="Did you mean 'flow'"):
        kept.Drawn("", "", 2, (1, 2), 16, 1, 1, "flw").decoder()  # type: ignore[arg-type]
