"""Captions of embedded faces, and what each of them asserts.

They train the `builtin` CLIP. Each caption names a random subset of attributes in one of many wordings, so it
is usually true of several faces of a batch; `truth` says of which, where pairing image i with caption i alone
would call true captions false.

Some wordings are the prompts of the `default` and of the `lineage` vocabulary. The latter are quoted from the
method's lineage, level names and grammar included [lineage]; the rest is ours and describes how a face is
presented or perceived [ours].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from idfer.synthetic.factors import Factors, level

Rng = np.random.Generator


@dataclass(frozen=True)
class Caption:
    """A sentence and what it says.

    Attributes:
        text: the sentence.
        asserted: attribute -> level, each of which is true of the face it was written for.
    """

    text: str
    asserted: Mapping[str, str]


def captions(factors: Factors, seed: int = 0) -> list[str]:
    """One sentence per face; the same seed gives the same sentences."""
    return [caption.text for caption in annotate(factors, seed)]


def annotate(factors: Factors, seed: int = 0) -> list[Caption]:
    """One caption per face, with what it asserts.

    Args:
        factors: N faces.
        seed: any integer >= 0.
    """
    rng = np.random.default_rng([seed, 3])
    known = levels(factors)
    return [
        _write({name: str(of[row]) for name, of in known.items() if of[row]}, rng)
        for row in range(len(factors))
    ]


def levels(factors: Factors) -> dict[str, np.ndarray]:
    """Attribute -> (N,) level names; "" where a face lies between levels and captions say nothing of it."""
    numbers = {name: getattr(factors, name).numpy().astype(np.float64) for name in _USED}
    turned = np.abs(numbers["yaw"])
    valence, arousal = numbers["valence"], numbers["arousal"]
    style = level("hair_style", numbers["hair_style"])
    grey = numbers["hair_grey"]
    colour = np.where(
        grey > 0.6, "grey", np.where(grey < 0.3, level("hair_colour", numbers["hair_colour"]), "")
    )
    return {
        **{name: level(name, numbers[name]) for name in ("gender", "age", "skin", "facial_hair", "glasses")},
        "hair_style": style,
        "hair_colour": np.where(style == "bald", "", colour),
        "valence": _bands(valence, (-0.3, "unpleasant"), (0.3, "pleasant"), "neutral"),
        "arousal": _bands(arousal, (-0.4, "calm"), (0.4, "intense"), ""),
        "view": np.where(turned < 7, "forward", np.where(turned > 11, "side", "")),
    }


def truth(written: Sequence[Caption], factors: Factors) -> torch.Tensor:
    """Of which faces is each caption true?

    Returns:
        (N, C) bool: whether face n has every level that caption c asserts.
    """
    known = levels(factors)
    holds = np.ones((len(factors), len(written)), bool)
    for column, caption in enumerate(written):
        for name, value in caption.asserted.items():
            holds[:, column] &= known[name] == value
    return torch.from_numpy(holds)


def contrasts(seed: int = 0) -> dict[str, list[Caption]]:
    """For each attribute one sentence per level, all in one wording: they differ in that level only.

    At most one of them is true of a face, and the others are the hardest negatives it can have.
    """
    rng = np.random.default_rng([seed, 4])
    contrasting: dict[str, list[Caption]] = {}
    for name, of in LEVELS.items():
        opening = int(rng.integers(len(_OPENINGS)))
        wordings = [prompts[name] for prompts in (_DEFAULT, _LINEAGE) if name in prompts]
        choice = rng.integers(len(wordings) + 1)
        if choice < len(wordings):
            templates, words = wordings[choice]
            template = templates[rng.integers(len(templates))]
            contrasting[name] = [Caption(template.replace("{}", words[value]), {name: value}) for value in of]
        else:
            contrasting[name] = [Caption(_compose({name: value}, opening), {name: value}) for value in of]
    return contrasting


_USED = (
    "gender", "age", "skin", "facial_hair", "glasses", "hair_style", "hair_colour", "hair_grey", "valence",
    "arousal", "yaw",
)  # fmt: skip


def _bands(values: np.ndarray, low: tuple[float, str], high: tuple[float, str], between: str) -> np.ndarray:
    """Three named bands of a number."""
    return np.where(values < low[0], low[1], np.where(values > high[0], high[1], between))


_AGE = {"young": "a young", "middle-aged": "a middle-aged", "older": "an older"}
_HAIR = {  # {} is the colour, with a space after it, or nothing
    "": "{}hair",
    "bald": "a bald head",
    "buzz": "very short {}hair",
    "short": "short {}hair",
    "curly": "curly {}hair",
    "bob": "chin-length {}hair",
    "long": "long straight {}hair",
    "wavy": "long wavy {}hair",
    "bun": "{}hair in a bun",
}
_WITH = {
    "skin": {"light": "light skin", "medium": "medium skin", "dark": "dark skin"},
    "glasses": {"none": "no glasses", "round": "round glasses", "square": "square glasses"},
    "facial_hair": {"none": "no beard", "stubble": "stubble", "beard": "a beard"},
    "valence": {
        "pleasant": "a pleasant expression",
        "neutral": "a neutral expression",
        "unpleasant": "an unpleasant expression",
    },
    "arousal": {"calm": "a calm look", "intense": "an intense look"},
}
_VIEW = {"forward": "facing forward", "side": "turned to the side"}
_OPENINGS = ("a photo of ", "a portrait of ", "a picture of ", "a close-up of ", "")
_MOST = 5  # attributes in one sentence

LEVELS: dict[str, tuple[str, ...]] = {
    "gender": ("feminine", "masculine"),
    "age": tuple(_AGE),
    **{name: tuple(words) for name, words in _WITH.items()},
    "hair_style": tuple(name for name in _HAIR if name),
    "hair_colour": ("black", "dark brown", "brown", "red", "blond", "grey"),
    "view": tuple(_VIEW),
}
"""What captions can say: attribute -> levels."""

# attribute -> templates, and the words for its levels
_Prompts = Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]]
_DEFAULT: _Prompts = {
    "gender": (
        ("a photo of a {} face", "a {}-looking person", "a portrait of a person with a {} appearance"),
        {"feminine": "feminine", "masculine": "masculine"},
    ),
    "age": (("a photo of {} person", "a portrait of {} adult", "the face of {} person"), _AGE),
    "skin": (
        (
            "a photo of a person with {} skin",
            "a face with {} skin",
            "a portrait of someone whose skin tone is {}",
        ),
        {"light": "light", "medium": "medium", "dark": "dark"},
    ),
}
_LINEAGE: _Prompts = {
    "gender": (("a photo of a {}",), {"feminine": "women", "masculine": "men"}),
    "skin": (("a photo with {} skin color",), {"light": "white", "medium": "yellow", "dark": "black"}),
    "age": (
        ("a facial photo of in one's {} group",),
        {"young": "young", "middle-aged": "middle-age", "older": "old"},
    ),
    "view": (("a facial photo facing {}",), {"forward": "forward", "side": "side"}),
}


def _write(known: dict[str, str], rng: Rng) -> Caption:
    """One caption of a face that is known to have these levels."""
    kind = rng.random()
    if kind < 0.35:
        return _prompt(known, _DEFAULT, rng)
    if kind < 0.5:
        return _prompt(known, _LINEAGE, rng)
    return _sentence(known, rng)


def _prompt(known: dict[str, str], prompts: _Prompts, rng: Rng) -> Caption:
    """A vocabulary's prompt for one attribute."""
    names = [name for name in prompts if name in known]
    name = names[rng.integers(len(names))]
    templates, words = prompts[name]
    template = templates[rng.integers(len(templates))]
    return Caption(template.replace("{}", words[known[name]]), {name: known[name]})


def _sentence(known: dict[str, str], rng: Rng) -> Caption:
    """A sentence on one to `_MOST` attributes in random choice and order."""
    names = list(known)
    chosen = rng.permutation(names)[: rng.integers(1, _MOST + 1)].tolist()
    said = {name: known[name] for name in chosen}
    return Caption(_compose(said, int(rng.integers(len(_OPENINGS)))), said)


def _compose(said: dict[str, str], opening: int) -> str:
    """The sentence that says just this."""
    subject = _AGE[said["age"]] if "age" in said else "a"
    if "gender" in said:
        subject += f" {said['gender']}-looking"
    features = [_WITH[name][value] for name, value in said.items() if name in _WITH]
    if "hair_style" in said or "hair_colour" in said:
        colour = f"{said['hair_colour']} " if "hair_colour" in said else ""
        features.append(_HAIR[said.get("hair_style", "")].replace("{}", colour))
    text = f"{_OPENINGS[opening]}{subject} person"
    if features:
        text += f" with {_listed(features)}"
    if "view" in said:
        text += f"{', ' if features else ' '}{_VIEW[said['view']]}"
    return text


def _listed(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
