"""The surface of a face: who it is, what it shows, how it is turned; without a renderer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

import toy_heads
from idfer.synthetic import factors
from idfer.synthetic.dataset import counterfactual
from idfer.synthetic.factors import Factors, sample
from idfer.synthetic.mesh import asset, film, hair, landmarks, muscles, paint, shape_ict, things
from idfer.synthetic.mesh.head import Model, _inside, turn
from idfer.synthetic.mesh.person import ancestry, stream
from idfer.synthetic.mesh.surfaces import ball, normals, ribbons, tube
from idfer.synthetic.sheet import express


@pytest.fixture(scope="module", params=["makehuman", "ict"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(asset.read(toy_heads.write(tmp_path_factory.mktemp("heads") / "head.npz", request.param)))


@pytest.fixture(scope="module")
def people() -> Factors:
    return express(sample(12, 1, seed=3), "neutral")


def who(faces: Factors, row: int = 0, **changes: float) -> dict[str, float]:
    return {name: float(getattr(faces, name)[row]) for name in faces.names()} | changes


def corner(head: object) -> np.ndarray:
    return head.marks[landmarks.NAMES.index("mouth_left")]  # type: ignore[attr-defined]


def test_every_head_is_placed_like_a_drawn_face(model: Model, people: Factors) -> None:
    for row in range(len(people)):
        head = model.head(who(people, row))
        assert head.eyes.mean(0) == pytest.approx([0, -landmarks.EYES_Y, 0], abs=1e-5)
        assert 0.7 < np.ptp(head.rest[model.asset.parts == 0, 0]) / 2 < 1.8
        assert np.isfinite(head.points).all()


def test_a_models_own_lengths_do_not_matter(model: Model, people: Factors) -> None:
    larger = replace(
        model.asset, neutral=3 * model.asset.neutral + np.float32([0, 5, 5]),
        identity=3 * model.asset.identity, expression=3 * model.asset.expression,
    )  # fmt: skip
    one, other = model.head(who(people, 2, au26=1.0)), Model(larger).head(who(people, 2, au26=1.0))
    np.testing.assert_allclose(one.points, other.points, atol=2e-3)


def test_an_expression_moves_the_face_and_not_the_person(model: Model, people: Factors) -> None:
    rest, shown = model.head(who(people)), model.head(who(people, au12=1.0))
    np.testing.assert_array_equal(rest.rest, shown.rest)
    assert corner(shown)[1] > corner(rest)[1] + 0.02  # a smile raises the corners of the mouth
    apart = [model.head(who(people, row)).rest for row in (0, 1)]
    assert np.abs(apart[0] - apart[1]).max() > 0.02


def test_counterfactuals_exchange_expressions_only(model: Model, people: Factors) -> None:
    smiling = express(people, "happy")
    both = Factors.concat([people, smiling])
    mixed = counterfactual(both, 0, len(people) + 1)
    np.testing.assert_array_equal(model.head(who(mixed)).rest, model.head(who(people)).rest)
    aged = people.replace(age=1.0)
    assert np.abs(model.head(who(aged)).rest - model.head(who(people)).rest).max() > 0.01


def test_a_lopsided_face_moves_more_on_the_right_of_the_image(model: Model, people: Factors) -> None:
    sides = ("mouth_left", "mouth_right")  # the person's left is the image's right
    index = [landmarks.NAMES.index(name) for name in sides]
    rest = model.head(who(people, lopsided=0.0)).marks[index]
    moved = [model.head(who(people, au12=1.0, lopsided=by)).marks[index] - rest for by in (0.0, 0.4)]
    lifted = [m[:, 1] for m in moved]
    assert lifted[1][0] > lifted[0][0] + 0.005
    assert lifted[1][1] < lifted[0][1] - 0.005


def test_shape_factors_shape_the_face(model: Model, people: Factors) -> None:
    wide, narrow = (model.head(who(people, 1, mouth_width=by)) for by in (2.0, -2.0))
    span = [h.rest_marks[9, 0] - h.rest_marks[10, 0] for h in (wide, narrow)]
    assert span[0] > span[1] * 1.02


def test_measures_of_modes_are_met() -> None:
    rng = np.random.default_rng(0)
    modes = rng.normal(0, 1, (100, 68, 3))
    person = who(sample(1, 1), 0, skin=3.0, gender=0.5, nose_width=2.0, mouth_width=-2.0)
    found = shape_ict.coefficients(modes, person, rng.standard_normal(200))
    other = shape_ict.coefficients(
        modes, person | {"nose_width": -2.0}, np.random.default_rng(0).standard_normal(200)
    )
    axis, points = shape_ict.MEASURES["nose_width"]
    measure = sum(w * modes[:, p, axis] for p, w in points.items())
    measure = measure / np.linalg.norm(measure)
    assert measure @ found > measure @ other + 1.5
    assert np.abs(found).max() <= 2.8


def test_ancestry_follows_the_tone_of_the_skin_softly() -> None:
    draws = np.random.default_rng(0).standard_normal((400, 3))
    shares = {tone: np.array([ancestry(tone, d) for d in draws]) for tone in (1.5, 5.0, 9.5)}
    for value in shares.values():
        np.testing.assert_allclose(value.sum(1), 1)
    assert shares[9.5][:, 0].mean() > 0.6 > 0.15 > shares[1.5][:, 0].mean()
    assert shares[1.5][:, 2].mean() > 0.5
    assert (shares[5.0].max(1) < 0.9).mean() > 0.5  # most are mixes
    assert (np.array([ancestry(t, draws[0])[0] for t in range(1, 11)])[1:] > 0).all()


@pytest.mark.parametrize("kind", ["makehuman", "ict"])
def test_action_units_add_up_per_shape(kind: str) -> None:
    names = (
        ("eyebrows-left-down", "eyebrows-right-down") if kind == "makehuman" else ("browDown_L", "browDown_R")
    )
    one = muscles.weights(kind, names, {4: 0.5})
    both = muscles.weights(kind, names, {4: 0.5, 9: 1.0})
    assert one[0] == one[1] > 0.4
    assert (both > one).all()
    assert (muscles.weights(kind, names, {4: 1.0, 9: 1.0}) <= 1.3).all()
    assert not muscles.weights(kind, names, {12: 1.0}).any()
    styled = muscles.weights(kind, names, {4: 0.5}, np.array([2.0, -2.0]))
    assert styled[0] > one[0] > styled[1]


@pytest.mark.parametrize(
    ("kind", "inner"), [("makehuman", "eyebrows-left-inner-up"), ("ict", "browInnerUp_L")]
)
def test_an_angry_brow_slopes_inwards_and_a_sad_one_does_not(kind: str, inner: str) -> None:
    """Both models' own shape lowers the middle of the brow most: heads that frown with it look worried."""
    angry, sad, raised = (
        muscles.weights(kind, (inner,), units)[0] for units in ({4: 1.0}, {1: 0.8, 4: 0.5}, {1: 0.8})
    )
    assert angry < -0.5
    assert sad > 0.8 * raised > 0


def test_makehumans_inner_brow_rises_more_than_a_frown_lowers_it() -> None:
    names = ("eyebrows-left-inner-up", "eyebrows-left-down")
    raised, lowered = muscles.weights("makehuman", names, {1: 0.8, 4: 0.5})
    assert raised > 2 * lowered > 0
    assert muscles.weights("makehuman", names, {1: 1.0, 4: 1.0}, np.array([2.0, 0.0]))[0] < 3.0


def test_laughter_opens_a_wide_mouth_and_surprise_a_narrow_one() -> None:
    names = ("mouth-retraction", "mouth-open")
    smile, laughter, surprise = (
        muscles.weights("makehuman", names, units) for units in ({12: 0.8}, {12: 0.8, 26: 0.8}, {26: 0.8})
    )
    assert laughter[0] > smile[0] + 0.3
    assert surprise[0] == 0
    assert 0.2 < laughter[1] < surprise[1]


@pytest.mark.parametrize("moved", [(0.0, 0.0), (0.2, -0.3)])
def test_makehumans_teeth_hang_below_the_lip_wherever_the_model_keeps_them(
    moved: tuple[float, float], people: Factors, tmp_path: Path
) -> None:
    kept = asset.read(toy_heads.write(tmp_path / "head.npz", "makehuman"))
    teeth = kept.parts == asset.PARTS.index("teeth")
    model = Model(replace(kept, neutral=kept.neutral + teeth[:, None] * np.float32([0, *moved])))
    high = teeth & (kept.neutral[:, 1] > kept.neutral[teeth, 1].mean())
    rest, smiling = model.head(who(people)), model.head(who(people, au12=1.0))
    lip = rest.rest_marks[landmarks.NAMES.index("lip_upper_inner")]
    for head, edge in ((rest, 0.03), (smiling, 0.09)):
        upper, lower = head.points[high], head.points[teeth & ~high]
        assert lip[1] - upper[:, 1].min() == pytest.approx(edge, abs=0.02)
        assert 0.03 < lip[2] - upper[:, 2].max() < 0.09  # close behind it, where light falls
        assert lower[:, 2].max() < upper[:, 2].max()
        assert lower[:, 1].max() < lip[1] + 0.01  # and the lower ones behind them


@pytest.mark.parametrize("spread", [0.0, 0.5])  # arches that have no tooth in the middle
def test_heads_with_other_teeth_are_shaped_too(spread: float, people: Factors, tmp_path: Path) -> None:
    kept = asset.read(toy_heads.write(tmp_path / "head.npz", "makehuman"))
    teeth = kept.parts == asset.PARTS.index("teeth")
    apart = kept.neutral + teeth[:, None] * np.float32([spread, 0, 0])
    none = np.where(teeth, asset.PARTS.index("skin"), kept.parts).astype(kept.parts.dtype)
    for head in (replace(kept, neutral=apart), replace(kept, neutral=apart, parts=none)):
        assert np.isfinite(Model(head).head(who(people, au12=1.0)).points).all()


def test_the_inside_of_the_mouth_is_hidden_and_the_skin_of_its_corners_is_not() -> None:
    """Beards grow on skin: walls of the mouth that pass for skin would grow them, too."""
    marks = dict.fromkeys(landmarks.NAMES, (0.0, 0.0, 0.3)) | {
        "lip_top": (0, 0.1, 0.3), "lip_bottom": (0, -0.1, 0.3), "mouth_left": (0.5, 0, 0.3),
    }  # fmt: skip
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(-0.6, 0.6, 25), np.linspace(-0.4, 0.2, 13)))
    behind = {"wall": (0.1, 0, -0.2), "deep": (0.48, 0, -0.5), "corner": (0.48, 0, 0.16)}
    points = np.array([*marks.values(), *behind.values(), *np.stack([x, y, 0 * x + 0.32], 1)], np.float32)
    head = SimpleNamespace(
        average=points,
        asset=SimpleNamespace(parts=np.zeros(len(points), int), landmarks=np.arange(len(marks))),
    )
    hidden = _inside(cast(Model, head))
    assert hidden[len(marks) :].tolist() == [True, True, False] + [False] * len(x)


def test_every_action_unit_of_the_map_has_a_shape_in_both_models() -> None:
    from idfer.synthetic.circumplex import AUS

    assert set(AUS) <= set(muscles.ICT)
    assert set(AUS) <= set(muscles.MAKEHUMAN)


def test_heads_turn_as_the_factors_say() -> None:
    nose, pivot = np.array([[0.0, -0.3, 0.6]]), np.array([0.0, -0.7, -0.9])
    level = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0}

    def turned(**by: float) -> np.ndarray:
        return turn(nose, level | by, pivot)[0]

    np.testing.assert_allclose(turned(), nose[0], atol=1e-6)
    assert turned(yaw=20.0)[0] > 0.3  # to image right
    assert turned(pitch=10.0)[1] < nose[0, 1] - 0.1  # down
    top = turn(np.array([[0.0, 1.5, 0.0]]), level | {"roll": 10.0}, pivot)[0]
    assert top[0] > 0.2  # clockwise in the image
    chest = turn(np.array([[0.0, -2.6, -0.9]]), level | {"yaw": 40.0}, pivot)[0]
    np.testing.assert_allclose(chest, [0, -2.6, -0.9], atol=1e-6)  # the neck bends, the body stays


def test_the_rims_of_the_lids_are_round_the_eyes(model: Model) -> None:
    for rim, x in zip(model.rims, (0.42, -0.42), strict=True):
        assert len(rim) > 2
        assert np.sign(model.average[rim, 0].mean()) == np.sign(x)


def test_people_are_streams_of_their_own() -> None:
    assert stream(1, 2, 3).random() == stream(1.0, 2.0, 3).random()
    assert len({stream(*key).random() for key in ((1, 2, 3), (2, 1, 3), (1, 2, 4), (1, 3, 3))}) == 4


# --- surfaces


def test_normals_of_a_ball_point_outwards() -> None:
    points, triangles = ball(np.pi * np.linspace(0, 1, 12), 16)
    inner = (normals(points, triangles)[16:-16] * points[16:-16]).sum(1)
    assert (np.abs(inner) > 0.95).all()
    assert len(np.unique(np.sign(inner))) == 1


def test_tubes_and_ribbons_keep_their_width() -> None:
    path = np.stack([np.linspace(0, 1, 5), np.zeros(5), np.zeros(5)], -1)
    pipe = tube(path, 0.1)
    np.testing.assert_allclose(np.hypot(pipe.points[:, 1], pipe.points[:, 2]), 0.1, atol=1e-6)
    strands = np.repeat(path[None], 3, 0)
    out = np.broadcast_to([0.0, 0.0, 1.0], strands.shape)
    flat = ribbons(strands, np.full((3, 5), 0.2), out, np.ones((3, 3)), np.zeros(3))
    assert flat.triangles.max() == len(flat.points) - 1 == 29
    np.testing.assert_allclose(np.abs(flat.points[:, 1]), 0.1, atol=1e-6)


# --- skin, hair, things


def painted(faces: Factors, **changes: float) -> tuple[np.ndarray, np.ndarray]:
    return paint.paint(faces.rows([0]).replace(**{"facial_hair": 0.0, "gender": 0.0} | changes), 128, 0.36)


def test_skin_darkens_along_the_monk_scale(people: Factors) -> None:
    tones = [painted(people, skin=tone)[0].mean() for tone in range(1, 11)]
    assert (np.diff(tones[2:]) < 0).all()
    assert tones[0] > 3 * tones[-1]


def test_wrinkles_come_with_age_and_move_with_action_units(people: Factors) -> None:
    forehead = np.s_[28:48, 44:84]
    flat = painted(people, age=0.0)[1][forehead]
    old, raised = (
        painted(people, age=1.0)[1][forehead],
        painted(people, age=0.0, au1=1.0, au2=1.0)[1][forehead],
    )
    assert old.std() > 2 * flat.std()
    assert raised.std() > 1.5 * flat.std()


def test_the_eyebrows_are_painted_at_rest_for_the_mesh_to_move(people: Factors) -> None:
    skin = painted(people, age=0.0)[0]
    shown = painted(people, age=0.0, au4=1.0)[0]
    brow = np.s_[38:52, 20:50]
    assert np.abs(skin[brow] - shown[brow]).max() < 0.35 * np.ptp(skin[brow])


def test_hair_is_of_its_style_and_colour(model: Model, people: Factors) -> None:
    skin = (model.asset.parts == 0) & ~model.interior

    def grown(style: int, **changes: float) -> list[hair.Surface]:
        person = who(people, 0, hair_style=float(style), hairline=0.0, hair_grey=0.0, **changes)
        return hair.hair(model.head(person), model.asset.triangles, skin, person, np.full(3, 0.3), 0.2)

    assert grown(0) == []
    short, long = grown(2)[1].points, grown(5)[1].points
    assert long[:, 1].min() < -1.5 < -1.2 < short[:, 1].min()
    black, blond = (grown(2, hair_colour=c)[1].colours.mean() for c in (0.0, 4.0))
    assert blond > 4 * black
    again = grown(5)[1].points
    np.testing.assert_array_equal(long, again)


def test_long_hair_leaves_the_eyes_free(model: Model, people: Factors) -> None:
    person = who(people, 0, hair_style=5.0, fringe=0.0, hairline=0.0)
    skin = (model.asset.parts == 0) & ~model.interior
    strands = hair.hair(model.head(person), model.asset.triangles, skin, person, np.full(3, 0.3), 0.3)[
        1
    ].points
    before_eyes = (np.abs(strands[:, 0]) < 0.6) & (np.abs(strands[:, 1]) < 0.4) & (strands[:, 2] > -0.3)
    assert before_eyes.mean() < 0.01


def test_beards_grow_with_the_factor(model: Model, people: Factors) -> None:
    skin = (model.asset.parts == 0) & ~model.interior
    person = who(people, 0, beard_shape=1.0)
    head = model.head(person)

    def grown(amount: float) -> list[hair.Surface]:
        return hair.beard(
            head, model.asset.triangles, skin, model.canonical, person | {"facial_hair": amount}, 0.1
        )

    assert grown(0.0) == grown(0.3) == []
    assert np.ptp(grown(1.0)[0].points[:, 1]) >= np.ptp(grown(0.45)[0].points[:, 1])


def test_glasses_and_occluders_are_there_when_the_factors_say(model: Model, people: Factors) -> None:
    head = model.head(who(people))
    assert things.glasses(head, who(people, glasses=0.0)) == []
    frames = things.glasses(head, who(people, glasses=2.0))
    front = np.concatenate([f.points for f in frames])
    assert front[:, 2].max() > head.eyes[:, 2].max() + head.eye_radius  # before the eyes
    assert np.ptp(front[:, 0]) > 1.2
    assert things.occluders(head, who(people, occlusion=0.0), np.ones(3), np.ones(3)) == []
    assert len(things.occluders(head, who(people, occlusion=2.0), np.ones(3), np.ones(3))) == 4
    assert len(things.occluders(head, who(people, occlusion=3.0), np.ones(3), np.ones(3))) == 1


def test_a_mask_hides_the_mouth_and_nothing_else(people: Factors) -> None:
    bare, worn = painted(people, occlusion=0.0)[0], painted(people, occlusion=1.0, occlusion_x=-1.0)[0]
    changed = np.abs(bare - worn).max(-1) > 0.02
    mouth, eyes = np.s_[80:92, 54:74], np.s_[45:60, 30:98]
    assert changed[mouth].all()
    assert not changed[eyes].any()
    hair_across = painted(people, occlusion=4.0)[0]
    np.testing.assert_array_equal(hair_across, bare)


# --- film


def test_photographs_follow_their_factors(people: Factors) -> None:
    face = people.rows([0]).replace(noise=0.0, blur=0.0, jpeg=100.0, background_value=0.8, exposure=0.0)
    light = np.zeros((48, 48, 4), np.float32)
    light[12:36, 12:36] = 0.5, 0.4, 0.3, 1.0
    plain = film.develop(light, who(face), face)
    assert plain.shape == (48, 48, 3)
    assert plain.dtype == np.uint8
    brighter = face.replace(exposure=0.08)
    assert film.develop(light, who(brighter), brighter).mean() > plain.mean() + 3
    noisy = face.replace(noise=0.03)
    assert (
        film.develop(light, who(noisy), noisy)[14:34, 14:34].std(0).mean()
        > plain[14:34, 14:34].std(0).mean() + 2
    )
    np.testing.assert_array_equal(plain, film.develop(light, who(face), face))
    assert plain[24, 24, 0] > plain[24, 24, 2]


def test_the_lamp_stands_where_the_factors_say(people: Factors) -> None:
    left, right = (film.lights(who(people, light_x=x))[0] for x in (-1.0, 1.0))
    assert left[0] < 0 < right[0]
    assert film.lights(who(people, light_y=-1.0))[0][1] > film.lights(who(people, light_y=0.3))[0][1]
    flat, strong = (film.lights(who(people, light_strength=s)) for s in (0.25, 1.0))
    assert strong[2].mean() * strong[1] ** 2 > flat[2].mean() * flat[1] ** 2
    assert strong[3].mean() < flat[3].mean()


def test_levels_are_those_of_the_drawn_engine(people: Factors) -> None:
    assert set(factors.level("age", people.age)) <= {"young", "middle-aged", "older"}
    assert isinstance(people.age, torch.Tensor)
