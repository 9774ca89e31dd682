"""What is known of every embedded face: a struct of arrays, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from idfer.capacity import available_memory, gibibytes
from idfer.errors import IdferError, UsageError, unknown
from idfer.ranges import check_seed
from idfer.synthetic import correlation as correlations
from idfer.synthetic import population
from idfer.synthetic import variety as varieties

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "factor."
Table: TypeAlias = dict[str, np.ndarray]
Alter: TypeAlias = Callable[[Table, Table], Table]
SEED_MOST = PEOPLE_MOST = 2**24 - 1  # the largest whole numbers that a float32 factor holds exactly
_BYTES_PER_FACE = 3600  # measured at the peak, with its rows of the manifest and its caption
_FACES_UNASKED = 100_000  # fit everywhere (340 MiB), so that nobody asks the machine each time


@dataclass(frozen=True)
class Factors:
    """N faces, every field a float32 tensor (N,).

    Identity: constant over the images of one person. Expression: the labels and the action units they led
    to. Nuisance: the photograph.
    """

    # --- identity
    cohort: Tensor  # seed that the person was drawn with
    identity: Tensor  # running number of the person within the cohort
    gender: Tensor  # presentation, 0 feminine .. 1 masculine
    age: Tensor  # 0 young adult .. 1 old
    skin: Tensor  # Monk skin tone 1 .. 10, continuous
    hair_style: Tensor  # index into population.HAIR_STYLES
    hair_colour: Tensor  # 0 black, 1 dark brown, 2 brown, 3 red, 4 blond, continuous
    hair_grey: Tensor  # 0 .. 1 share of grey
    hairline: Tensor  # 0 full .. 1 receded
    hair_volume: Tensor
    fringe: Tensor  # 0 none .. 1 down to the brows
    parting: Tensor  # side of the parting, negative = image left
    facial_hair: Tensor  # 0 none, .25-.45 stubble, above: beard
    beard_shape: Tensor  # 0 moustache and chin .. 1 full
    glasses: Tensor  # 0 none, 1 round, 2 square
    frame_tone: Tensor
    makeup: Tensor  # 0 none .. 1 strong
    lipstick: Tensor  # colour of the lipstick, 0 rose .. 1 deep red
    iris: Tensor  # 0 dark brown, 1 brown, 2 hazel, 3 green, 4 blue, continuous
    freckles: Tensor
    expressivity: Tensor  # factor on every action unit
    asymmetry: Tensor  # personal; > 0: the image-right half moves more
    face_width: Tensor
    face_length: Tensor
    jaw_width: Tensor
    chin_length: Tensor
    chin_width: Tensor
    cheekbones: Tensor
    cheek_fullness: Tensor
    forehead: Tensor
    eye_size: Tensor
    eye_spacing: Tensor
    eye_tilt: Tensor
    eye_openness: Tensor
    brow_height: Tensor
    brow_thickness: Tensor
    brow_tilt: Tensor
    brow_arch: Tensor
    nose_width: Tensor
    nose_length: Tensor
    mouth_width: Tensor
    mouth_height: Tensor
    lip_fullness: Tensor
    mouth_curve: Tensor  # resting curvature of the closed mouth
    ear_size: Tensor
    # --- expression
    valence: Tensor  # label, -1 .. 1
    arousal: Tensor  # label, -1 .. 1
    dominance: Tensor  # -1 .. 1, independent of both labels
    lopsided: Tensor  # of this expression: asymmetry plus chance
    au1: Tensor
    au2: Tensor
    au4: Tensor
    au5: Tensor
    au6: Tensor
    au7: Tensor
    au9: Tensor
    au10: Tensor
    au12: Tensor
    au15: Tensor
    au16: Tensor
    au17: Tensor
    au20: Tensor
    au23: Tensor
    au24: Tensor
    au25: Tensor
    au26: Tensor
    au43: Tensor
    # --- nuisance
    yaw: Tensor  # degrees, > 0 turned to image right
    pitch: Tensor  # degrees, > 0 looking down
    roll: Tensor  # degrees, > 0 clockwise
    shift_x: Tensor  # in face half-widths
    shift_y: Tensor
    scale: Tensor
    gaze_x: Tensor  # -1 .. 1
    gaze_y: Tensor
    light_x: Tensor  # -1 from image left .. 1 from image right
    light_y: Tensor  # -1 from above .. 1 from below
    light_strength: Tensor  # 0 flat .. 1 strong modelling
    exposure: Tensor  # relative
    warmth: Tensor  # relative red-blue shift
    background_hue: Tensor
    background_saturation: Tensor
    background_value: Tensor
    background_gradient: Tensor
    clothes_hue: Tensor
    clothes_saturation: Tensor
    clothes_value: Tensor
    blur: Tensor  # standard deviation in 1/64 of the image side
    noise: Tensor  # standard deviation, of 1
    occlusion: Tensor  # 0 none, 1 mask, 2 hand, 3 object, 4 strand of hair
    occlusion_x: Tensor
    occlusion_y: Tensor
    jpeg: Tensor  # quality 1 .. 100; 100 leaves the round trip out
    noise_seed: Tensor  # integer below 2^24, seeds the camera noise

    def __len__(self) -> int:
        return int(self.identity.shape[0])

    @classmethod
    def names(cls) -> list[str]:
        """Names of all factors, identity first, then expression, then nuisance."""
        return [f.name for f in fields(cls)]

    def map(self, function: Callable[[Tensor], Tensor]) -> Factors:
        """Apply one function to all fields at once, stacked as (F, N); it may change all but F."""
        stacked = torch.stack([getattr(self, name) for name in _NAMES])
        return Factors(*function(stacked).unbind(0))

    def rows(self, index: Tensor | np.ndarray | Sequence[int] | slice) -> Factors:
        """The faces that an index array, mask or slice names, in that order."""
        chosen = index if isinstance(index, slice) else torch.as_tensor(index)
        return self.map(lambda stacked: stacked[:, chosen])

    def replace(self, **changes: Tensor | float) -> Factors:
        """A copy with some factors changed; a number stands for all N faces.

        Raises:
            UsageError: unknown factor.
        """
        values = {name: getattr(self, name) for name in self.names()}
        for name, value in changes.items():
            if name not in values:
                raise unknown("factor", name, self.names())
            values[name] = torch.as_tensor(value, dtype=torch.float32).expand(len(self)).clone()
        return Factors(**values)

    @classmethod
    def concat(cls, parts: Sequence[Factors]) -> Factors:
        """All faces of several parts, one after the other."""
        return cls(**{name: torch.cat([getattr(p, name) for p in parts]) for name in cls.names()})

    def frame(self) -> pd.DataFrame:
        """A table with one column `factor.NAME` per factor, float32."""
        import pandas as pd

        return pd.DataFrame({PREFIX + name: getattr(self, name).numpy() for name in self.names()})

    @classmethod
    def from_frame(cls, table: pd.DataFrame) -> Factors:
        """Read back what `frame` wrote, e.g. from a manifest: the same factors, so the same pixels.

        Raises:
            IdferError: a factor's column is missing.
        """
        if missing := [name for name in cls.names() if PREFIX + name not in table.columns]:
            raise IdferError(
                f"column {PREFIX + missing[0]!r} is missing ({len(missing)} such); only a table made by "
                "`idfer synth` of this version holds the factors of its faces."
            )
        return cls(
            **{n: torch.from_numpy(table[PREFIX + n].to_numpy(np.float32).copy()) for n in cls.names()}
        )


_NAMES = Factors.names()
IDENTITY = tuple(_NAMES[: _NAMES.index("valence")])
EXPRESSION = tuple(_NAMES[_NAMES.index("valence") : _NAMES.index("yaw")])
NUISANCE = tuple(_NAMES[_NAMES.index("yaw") :])


def sample(
    identities: int,
    per_identity: int,
    correlation: str | Mapping[tuple[str, str], float] | None = None,
    seed: int = 0,
    alter: Alter | None = None,
    variety: str = varieties.PLAIN,
) -> Factors:
    """Draw people, the expressions they show and the photographs taken of them.

    The people of (seed, i) are the same whatever the correlation, `per_identity` and `identities`, and the
    labels' marginals stay uniform on [-1, 1] whatever the correlation (Gaussian copula).

    Args:
        identities: number of people.
        per_identity: images per person.
        correlation: label-attribute correlation, as `idfer.synthetic.correlation.parse` reads it.
        seed: 0 to 2^24 - 1; another seed draws other people.
        alter: (factors, scores) of people -> what is changed of their factors before they express anything;
            both as `population.identities` returns them.
        variety: plain or wide, see `idfer.synthetic.variety`; labels are the same, and so are people but for
            their mouths, cheeks and glasses.

    Returns:
        identities * per_identity faces, person by person.

    Raises:
        UsageError: a count below 1, more faces than fit into memory, a seed out of range, a bad correlation,
            or a variety that does not exist.
    """
    check_counts(identities, per_identity)
    check_seed(seed, "seed", most=SEED_MOST)
    varieties.check(variety)
    rhos = correlations.parse(correlation)
    people, scores = population.identities(identities, seed)
    people, resting = varieties.people(variety, people, seed)
    if alter is not None:
        people = people | alter(people, scores)
    count = identities * per_identity
    owner = np.repeat(np.arange(identities), per_identity)
    values = {name: value[owner] for name, value in people.items()}
    rng = np.random.default_rng([seed, 2])
    own_scores = {name: score[owner] for name, score in scores.items()}
    for label in correlations.LABELS:
        values[label] = correlations.correlate(label, rng.standard_normal(count), own_scores, rhos)
    values["dominance"] = np.tanh(0.55 * rng.standard_normal(count))
    values["lopsided"] = (values["asymmetry"] + 0.1 * rng.standard_normal(count)).clip(-0.4, 0.4)
    units = varieties.action_units(variety, values["valence"], values["arousal"], values["dominance"], seed)
    for au, intensity in units.items():
        meant = np.maximum(intensity * values["expressivity"], resting[au][owner] if au in resting else 0.0)
        # intensity varies in proportion, and a resting face is never quite still
        shown = meant * (1 + 0.12 * rng.standard_normal(count)) + 0.03 * np.abs(rng.standard_normal(count))
        values[f"au{au}"] = shown.clip(0, 1)
    values |= varieties.turned(variety, population.nuisance(rng, count))
    values |= {"cohort": np.full(count, float(seed)), "identity": owner.astype(np.float64)}
    return Factors(**{n: torch.from_numpy(values[n].astype(np.float32)) for n in Factors.names()})


def check_counts(identities: int, per_identity: int) -> None:
    """Raises `UsageError` for less than one face, and for more than fit into memory."""
    for name, value in (("identities", identities), ("per_identity", per_identity)):
        if value < 1:
            raise UsageError(f"{name} is {value}; at least 1 is needed.")
    count = identities * per_identity
    if count <= _FACES_UNASKED and identities <= PEOPLE_MOST:
        return
    if identities > PEOPLE_MOST:
        raise UsageError(f"identities is {identities:,}; at most {PEOPLE_MOST:,} can be told apart.")
    available = available_memory()
    if available is not None and count * _BYTES_PER_FACE > available:
        people = available // _BYTES_PER_FACE // per_identity
        raise UsageError(
            f"{identities:,} identities of {per_identity:,} images need about "
            f"{gibibytes(count * _BYTES_PER_FACE)} of memory, {gibibytes(available)} are free; "
            + (f"at most {people:,} identities fit." if people else "ask for fewer images per identity.")
        )


_BORDERS: dict[str, tuple[tuple[float, ...], tuple[str, ...]]] = {
    "gender": ((0.5,), ("feminine", "masculine")),
    "age": ((1 / 3, 2 / 3), ("young", "middle-aged", "older")),
    "skin": ((4.0, 7.0), ("light", "medium", "dark")),
    "hair_style": (tuple(k + 0.5 for k in range(len(population.HAIR_STYLES) - 1)), population.HAIR_STYLES),
    "hair_colour": ((0.5, 1.5, 2.5, 3.5), ("black", "dark brown", "brown", "red", "blond")),
    "iris": ((0.5, 1.5, 2.5, 3.5), ("dark brown", "brown", "hazel", "green", "blue")),
    "facial_hair": ((0.2, 0.5), ("none", "stubble", "beard")),
    "glasses": ((0.5, 1.5), ("none", "round", "square")),
    "occlusion": ((0.5, 1.5, 2.5, 3.5), ("none", "mask", "hand", "object", "hair")),
}


def level(name: str, values: np.ndarray | Tensor) -> np.ndarray:
    """Level names of a factor; those of gender, age and skin are the default vocabulary's.

    Args:
        name: gender, age, skin, hair_style, hair_colour, iris, facial_hair, glasses or occlusion.
        values: (N,) values of that factor.

    Returns:
        (N,) array of names. A value on a border belongs to the upper level.

    Raises:
        UsageError: that factor has no levels.
    """
    if name not in _BORDERS:
        raise unknown("factor with levels", name, list(_BORDERS))
    borders, names = _BORDERS[name]
    return np.array(names)[np.digitize(np.asarray(values, np.float64), borders)]
