"""A run's record, `config.yaml`: its settings, what it was trained on, and how its faces were prepared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError
from idfer.files import atomic
from idfer.training.settings import WIDEST, Settings
from idfer.version import __version__

FORMAT = 3  # raised whenever an older idfer could misread a run
CONFIG = "config.yaml"
MOST_ATTRIBUTES = 1024
_KEYS = frozenset({
    "format_version", "idfer_version", "settings", "attributes", "levels", "embedding", "retrieved", "data",
    "preprocess", "sample_weights", "versions",
})  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What makes a run this run, known before anything is built.

    Attributes:
        settings: what it was asked to be.
        attributes: identity attributes its network has a residual module for.
        levels: level names of every attribute it was trained with.
        embedding: width of the retrieved ID vectors its network reads; 0 where it reads none.
        retrieved: which CLIP and vocabulary retrieved them, and warnings about that.
        data: where the faces came from: `manifest`, `rows`, `content` (a digest of them), `attributes`,
            `retrieved` (a digest), `landmarks` (of aligned faces: a digest of those that the manifest gives,
            "" without; earlier versions wrote no such entry), `drawn` (whether all faces are of the drawn
            engine), `synthetic` (whether all are idfer's, drawn or rendered).
    """

    settings: Settings
    attributes: tuple[str, ...]
    levels: Mapping[str, Sequence[str]]
    embedding: int
    retrieved: Mapping[str, Any]
    data: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not 0 <= self.embedding <= WIDEST:
            raise IdferError(f"embedding is {self.embedding}; it must be from 0 to {WIDEST}.")
        if unknown_names := [name for name in self.attributes if name not in self.levels]:
            raise IdferError(f"attribute {unknown_names[0]!r} has no levels.")

    @property
    def identity(self) -> str:
        """16 hex digits of what makes this run this run: settings, levels and the content of its data."""
        content = {
            "settings": self.settings.hashed(), "attributes": list(self.attributes),
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "clip": self.retrieved.get("clip_fingerprint"),
            "content": self.data.get("content"), "retrieved": self.data.get("retrieved"),
        }  # fmt: skip
        if landmarks := self.data.get("landmarks"):  # without them a run is named as ever
            content["landmarks"] = landmarks
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def difference(self, other: Plan) -> str:
        """Words for the first thing in which another run differs from this; "" where they are one run."""
        mine, theirs = self.settings.to_dict(), other.settings.to_dict()
        for name in mine:
            if mine[name] != theirs[name]:
                return f"{name}: {theirs[name]!r}, now {mine[name]!r}"
        if "landmarks" not in other.data:  # written before they were told of
            return replace(self, data={k: v for k, v in self.data.items() if k != "landmarks"})._told(other)
        return self._told(other)

    def _told(self, other: Plan) -> str:
        """Words for what other data a run with the same settings has."""
        if self.identity == other.identity:
            return ""
        if self.data.get("content") != other.data.get("content"):
            return "its training faces or their labels are others"
        if self.data.get("landmarks") != other.data.get("landmarks"):
            return "the landmarks of its training faces are others"
        return "its retrieved attributes are others"


@dataclass(frozen=True)
class Record(Plan):
    """All that is known of a run beside its weights.

    Attributes:
        preprocess: the preprocessing contract.
        sample_weights: effective sample size and clipping of the decorrelation weights; {} without.
        versions: of the libraries.
    """

    preprocess: Preprocess
    sample_weights: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, preprocess: Preprocess, sample_weights: Mapping[str, Any]) -> Record:
        """The record of a plan that is carried out, with the versions of the libraries here."""
        return cls(
            **vars(plan), preprocess=preprocess, sample_weights=sample_weights, versions=library_versions()
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for YAML and reports."""
        return {
            "format_version": FORMAT,
            "idfer_version": __version__,
            "settings": self.settings.to_dict(),
            "attributes": list(self.attributes),
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "embedding": self.embedding,
            "retrieved": dict(self.retrieved),
            "data": dict(self.data),
            "preprocess": self.preprocess.to_dict(),
            "sample_weights": dict(self.sample_weights),
            "versions": dict(self.versions),
        }

    def write(self, folder: Path) -> None:
        """Write `config.yaml`, whole or not at all."""
        import yaml

        with atomic(folder / CONFIG) as temporary:
            text = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
            temporary.write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Read and check a run's `config.yaml`.

        Raises:
            IdferError: it is missing, unreadable, of another format, or a value in it is not what it must be;
                the message names the file and the value.
        """
        from idfer.files import read_yaml

        file = folder / CONFIG
        if not file.exists():
            raise IdferError(f"{file}: missing; {folder} is not a run of `idfer fit`.")
        content = read_yaml(file)
        if (given := content.get("format_version")) != FORMAT:
            made = content.get("idfer_version", "unknown")
            raise IdferError(
                f"{file}: format {given!r} (written by idfer {made}), this is idfer {__version__}, which "
                f"reads format {FORMAT}; train it again, or install the version that wrote it."
            )
        try:
            return cls._from_dict(content)
        except IdferError as error:
            raise IdferError(f"{file}: {error} Restore the file or train again.") from error

    @classmethod
    def _from_dict(cls, content: Mapping[str, Any]) -> Record:
        for key in content:
            if key not in _KEYS:
                raise IdferError(f"{key!r} is not known to this version of idfer.")
        attributes = content.get("attributes")
        if not isinstance(attributes, list) or not all(isinstance(name, str) for name in attributes):
            raise IdferError(f"attributes is {attributes!r}, not a list of names.")
        if len(attributes) > MOST_ATTRIBUTES or len(set(attributes)) < len(attributes):
            raise IdferError(f"attributes are too many or named twice ({len(attributes)}).")
        levels = _mapping(content, "levels")
        for name, names in levels.items():
            if not isinstance(names, list) or not all(isinstance(level, str) for level in names) or not names:
                raise IdferError(f"levels of {name!r} are {names!r}, not a list of names.")
        embedding = content.get("embedding")
        if not isinstance(embedding, int) or isinstance(embedding, bool):
            raise IdferError(f"embedding is {embedding!r}, not a whole number.")
        return cls(
            settings=Settings.from_dict(content.get("settings")),
            attributes=tuple(attributes),
            levels=levels,
            embedding=embedding,
            retrieved=_retrieved(content),
            data=_mapping(content, "data"),
            preprocess=Preprocess.from_dict(_mapping(content, "preprocess")),
            sample_weights=_mapping(content, "sample_weights"),
            versions=_mapping(content, "versions"),
        )


def library_versions() -> dict[str, str]:
    """Versions of what a run's numbers depend on."""
    return {name: version(name) for name in ("torch", "timm", "open-clip-torch", "numpy")}


def _retrieved(content: Mapping[str, Any]) -> dict[str, Any]:
    """Which CLIP and vocabulary, each value of its kind."""
    kinds = {"scale": (int, float), "drawn": (bool,)}
    values = _mapping(content, "retrieved")
    for name, value in values.items():
        if not isinstance(value, kinds.get(name, (str,))):
            raise IdferError(f"retrieved.{name} is {value!r}, which is no {name} of a CLIP.")
    return values


def _mapping(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = content.get(name)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise IdferError(f"{name} is {value!r}, not a mapping of names.")
    return value
