"""What is drawn: determinism, and that every factor shows where it should and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idfer.errors import UsageError
from idfer.synthetic import render as renderer
from idfer.synthetic.factors import NUISANCE, Factors, sample
from idfer.synthetic.population import HAIR_STYLES, SHAPES
from idfer.synthetic.render import STUDIO, render
from idfer.synthetic.sheet import contact_sheet, express

SIZE = 64


@pytest.fixture(scope="module")
def people() -> Factors:
    """Neutral faces of all skins and ages, without facial hair or glasses."""
    faces = express(sample(6, 1, seed=1), "neutral")
    return faces.replace(glasses=0.0, facial_hair=0.0, lopsided=0.0)


def studio(faces: Factors) -> torch.Tensor:
    return render(faces, SIZE, nuisance=False).float()


def rows_of(top: float, bottom: float) -> slice:
    """Pixel rows of canonical heights `top` to `bottom` in a studio picture."""
    from idfer.synthetic.layers.pose import CENTRE, VIEW

    first, last = (((y - CENTRE) / VIEW + 1) / 2 * SIZE for y in (top, bottom))
    return slice(max(0, round(first)), round(last))


def test_same_factors_same_pixels_in_any_chunk_and_on_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faces = sample(8, 2, seed=7)
    pixels = render(faces, SIZE)
    threads = torch.get_num_threads()
    for chunk, count in ((1, 1), (SIZE * SIZE * 5, 3)):
        monkeypatch.setattr(renderer, "_CHUNK_PIXELS", chunk)
        torch.set_num_threads(count)
        try:
            assert torch.equal(render(faces, SIZE), pixels)
            assert torch.get_num_threads() == count  # rendering leaves the caller's setting alone
        finally:
            torch.set_num_threads(threads)
    order = torch.randperm(len(faces))
    assert torch.equal(render(faces.rows(order), SIZE), pixels[order])


def test_a_seed_draws_other_pixels(people: Factors) -> None:
    assert not torch.equal(render(sample(4, 1, seed=0)), render(sample(4, 1, seed=1)))


@pytest.mark.parametrize("size", [16, 64, 97, 192])
def test_any_size_shows_the_same_face(size: int) -> None:
    faces = sample(3, 1, seed=4).replace(noise=0.0, jpeg=100.0, occlusion=0.0)
    drawn = render(faces, size)
    assert drawn.shape == (3, 3, size, size)
    assert drawn.dtype == torch.uint8
    shrink = torch.nn.functional.adaptive_avg_pool2d
    small, wanted = shrink(drawn.float(), 8), shrink(render(faces, 128).float(), 8)
    assert (small - wanted).abs().mean() < 8


@pytest.mark.parametrize("size", [0, 15, 1025])
def test_sizes_out_of_range_are_refused(size: int) -> None:
    with pytest.raises(UsageError, match="16 to 1024"):
        render(sample(1, 1), size)


REGIONS = {
    **dict.fromkeys((1, 2, 4), (-0.75, -0.15)),
    **dict.fromkeys((5, 7, 43), (-0.35, 0.10)),
    **dict.fromkeys((6, 9), (-0.40, 0.60)),
    **dict.fromkeys((10, 12, 15, 16, 20, 23, 24, 25), (0.45, 1.00)),
    **dict.fromkeys((17, 26), (0.60, 1.45)),
}


@pytest.mark.parametrize("au", sorted(REGIONS))
def test_each_action_unit_changes_its_region_more_the_stronger_it_is(people: Factors, au: int) -> None:
    with_teeth = people.replace(au25=0.6) if au in (16, 26) else people
    rest, half, full = (studio(with_teeth.replace(**{f"au{au}": v})) for v in (0.0, 0.5, 1.0))
    region = rows_of(*REGIONS[au])
    inside = [(image - rest)[:, :, region].abs().mean() for image in (half, full)]
    assert inside[1] > inside[0] > 0.15
    assert inside[1] > 3 * (full - rest)[:, :, rows_of(-1.4, -0.95)].abs().mean()  # the crown keeps still


def test_a_smile_lifts_the_mouth_corners_and_a_frown_drops_them(people: Factors) -> None:
    """Of what a mouth darkens in the columns of its corners, the centre of mass moves up or down."""
    centre = SIZE // 2
    corners = [centre - 10, centre - 9, centre + 8, centre + 9]
    rows = rows_of(0.45, 1.0)

    def height(au: str) -> torch.Tensor:
        changed = studio(people.replace(**{au: 1.0})).mean(1) - studio(people).mean(1)
        dark = (-changed[:, rows][:, :, corners]).clamp(min=0).mean(2)
        where = torch.arange(dark.shape[1], dtype=torch.float32)
        return (dark * where).sum(1) / dark.sum(1).clamp(min=1e-6)

    assert (height("au12") < height("au15")).float().mean() > 0.9


def test_brow_muscles_raise_and_lower_the_inner_brow(people: Factors) -> None:
    clear = people.replace(
        age=0.1, skin=3.0, hair_colour=0.0, hair_grey=0.0, fringe=0.0, gender=0.7, brow_height=0.0
    )
    rows = rows_of(-0.80, -0.28)

    def height(**units: float) -> torch.Tensor:
        inner = studio(clear.replace(**units)).mean(1)[:, rows][:, :, [25, 26, 27, 36, 37, 38]].mean(2)
        dark = (150 - inner).clamp(min=0)
        return (dark * torch.arange(dark.shape[1])).sum(1) / dark.sum(1)

    rest = height()
    assert (height(au1=1.0) < rest - 0.5).all()
    assert (height(au4=1.0) > rest + 0.5).all()


def test_valence_alone_moves_the_face_and_leaves_hair_and_background(people: Factors) -> None:
    sad, happy = studio(express(people, "sad")), studio(express(people, "happy"))
    moved = (sad - happy).abs().amax(1)
    assert (moved[:, rows_of(-0.6, 1.2)].mean((1, 2)) > 2).all()
    assert moved[:, : rows_of(-1.4, -1.1).stop].max() <= 3
    assert moved[:, :, :4].max() <= 3


@pytest.mark.parametrize("name", ["gender", "age", "skin", "makeup", "glasses", "facial_hair", *SHAPES])
def test_identity_factors_show(people: Factors, name: str) -> None:
    low, high = {"skin": (2.0, 8.0), "glasses": (0.0, 2.0)}.get(
        name, (-1.5, 1.5) if name in SHAPES else (0.0, 1.0)
    )
    faces = people.replace(gender=0.8) if name == "facial_hair" else people
    if name == "ear_size":  # ears are seen below short hair only
        faces = faces.replace(hair_style=1.0)
    change = (
        (studio(faces.replace(**{name: high})) - studio(faces.replace(**{name: low}))).abs().amax((1, 2, 3))
    )
    assert (change > 8).all()  # of 255, where it shows most


def test_hair_styles_differ(people: Factors) -> None:
    drawn = [studio(people.replace(hair_style=float(k))) for k in range(len(HAIR_STYLES))]
    for k, one in enumerate(drawn):
        for other in drawn[:k]:
            assert (one - other).abs().mean() > 0.5


def test_darker_tones_are_darker_whatever_the_light(people: Factors) -> None:
    lit = sample(6, 1, seed=2).replace(occlusion=0.0, yaw=0.0, roll=0.0)
    light, medium, dark = (
        render(lit.replace(skin=tone), SIZE)[:, :, rows_of(0.1, 0.5), 22:42].float().mean((1, 2, 3))
        for tone in (2.0, 5.5, 8.5)
    )
    assert light.min() > medium.max() > dark.max() + 20


def test_age_looks_like_low_valence_and_masculine_brows_like_anger(people: Factors) -> None:
    """Identity and expression are entangled as on real faces."""
    young = people.replace(age=0.0, hair_grey=0.0, gender=0.0)
    droop = studio(young.replace(age=1.0)) - studio(young)
    frown = studio(young.replace(au15=0.6, au43=0.2)) - studio(young)
    brow = studio(young.replace(gender=1.0)) - studio(young)
    anger = studio(young.replace(au4=0.6)) - studio(young)

    def agreement(a: torch.Tensor, b: torch.Tensor, region: slice) -> float:
        a, b = a[:, :, region, 18:46].flatten(1), b[:, :, region, 18:46].flatten(1)
        return float(torch.nn.functional.cosine_similarity(a, b).mean())

    assert agreement(droop, frown, rows_of(0.55, 0.95)) > 0.1
    assert agreement(brow, anger, rows_of(-0.6, -0.2)) > 0.1


def test_nuisance_can_be_left_out() -> None:
    one = sample(1, 6, seed=3)
    shown = express(one, "happy").replace(lopsided=0.0)
    plain = render(
        shown.replace(clothes_hue=0.5, clothes_saturation=0.1, clothes_value=0.5, noise_seed=0.0), 48, False
    )
    assert (plain == plain[:1]).all()
    assert set(STUDIO) <= set(NUISANCE)
    assert (render(shown, 48).float() - plain.float()).abs().mean() > 5


def test_jpeg_noise_and_blur_do_what_they_say() -> None:
    clean = sample(8, 1, seed=6).replace(noise=0.0, blur=0.0, jpeg=100.0)
    base = render(clean, SIZE).float()
    noisy = render(clean.replace(noise=0.05), SIZE).float() - base
    assert 0.6 * 0.05 * 255 < noisy.std() < 1.3 * 0.05 * 255
    sharpness = (base[:, :, :, 1:] - base[:, :, :, :-1]).abs().mean()
    blurred = render(clean.replace(blur=1.5), SIZE).float()
    assert (blurred[:, :, :, 1:] - blurred[:, :, :, :-1]).abs().mean() < 0.8 * sharpness
    coarse, fine = (render(clean.replace(jpeg=q), SIZE).float() - base for q in (20.0, 95.0))
    assert coarse.abs().mean() > 2 * fine.abs().mean() > 0


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**20), st.floats(0, 1), st.sampled_from([16, 33, 64]))
def test_any_mixture_of_factors_draws_a_face(seed: int, extreme: float, size: int) -> None:
    """Factors pushed to the ends of their ranges, alone and together, still give an image with contrast."""
    rng = np.random.default_rng(seed)
    faces = sample(2, 1, seed=seed % 1000)
    units = {
        n: torch.from_numpy(rng.uniform(0, 1, 2) ** (1 - extreme)) for n in Factors.names() if n[:2] == "au"
    }
    shapes = {n: torch.from_numpy(rng.choice([-2.2, 2.2], 2) * extreme) for n in SHAPES}
    drawn = render(faces.replace(**units, **shapes, yaw=24.0 * extreme, pitch=-13.0 * extreme), size)
    assert drawn.shape == (2, 3, size, size)
    assert (drawn.float().std((1, 2, 3)) > 5).all()


def test_contact_sheet_names_rows_and_columns(people: Factors) -> None:
    sheet = contact_sheet(people.rows([0, 1]), ("happy", "sad", "angry"), size=64)
    assert sheet.shape[0] > 2 * 64
    assert sheet.shape[1] > 3 * 64
    assert (sheet[: sheet.shape[0] - 128] < 120).any()  # writing above the faces
    with pytest.raises(UsageError, match="Did you mean 'happy'"):
        express(people, "hapy")
