"""`Settings`: everything a run is made of, decided once: defaults, checks, YAML and digest.

`fit`, the trials of benchmarks, ablations, checkpoints and reports all read this one object.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from idfer.catalogue import (
    ATTACHMENTS,
    DEFAULT_METHOD,
    FORMS,
    HEADS,
    NETWORK,
    PRECISIONS,
    RETRIEVALS,
    MethodEntry,
    method_entry,
)
from idfer.data.faces import DETECTORS
from idfer.data.preprocess import ALIGNMENTS
from idfer.errors import IdferError, UsageError, unknown
from idfer.names import is_path, path_of, split_names
from idfer.ranges import SEED_MOST

AUGMENTATIONS = ("strong",)
"""Kinds of augmentation that have a name; the others are none (false) and mild (true)."""
WIDEST = 16384  # features, codes: beyond, a layer alone would fill a GPU


@dataclass(frozen=True)
class Settings:
    """What a run is made of; every default is written out and every value is in its range.

    Make one with `Settings.of`; options and their meaning are those of `idfer.fit`.

    Attributes:
        method: a name of `idfer.catalogue.METHODS`, or `module:Class`.
        form: of the residual modules.
        retrieval: of ID vectors.
        code: width of the sampled expression feature; 0 for none.
        head: of valence and arousal.
        attachment: what attaching an attribute adds: its "evidence" of the label, or its "features".
        decorrelate: whether samples are weighted to make labels independent of retrieved attributes.
        terms: every setting of the method's objectives, by name.
        use: attributes to separate; None for all of the table.
        backbone: timm model name, "alexnet", "conv4" or "conv7".
        pretrained: False, True, or the path of a weight file.
        epochs: passes over the training faces.
        batch_size: faces per step.
        lr: peak learning rate.
        min_lr: learning rate below which the schedule does not fall; at most `lr`.
        weight_decay: decoupled weight decay of matrices.
        size: input side in pixels; None for the backbone's own.
        margin: context around a face box, as a fraction of its longer side.
        detector: what finds faces that the manifest does not place.
        alignment: whether faces are brought into place by landmarks: "none" or "landmarks".
        dim: width of expression and identity features.
        dropout: share of the backbone's features that training leaves out at random.
        augmentation: whether training images are varied: False, True (mildly) or "strong".
        ema: decay of the moving average of weights that is kept; 0 keeps the last step's.
        mirror: whether a trained network looks at a face's mirror image too.
        holdout: share of the people that is kept back where a manifest has no splits.
        seed: of weights, order and augmentation.
        precision: of the forward and backward pass.
    """

    method: str
    form: str
    retrieval: str
    code: int
    head: str
    attachment: str
    decorrelate: bool
    terms: Mapping[str, Any] = field(hash=False)
    use: tuple[str, ...] | None = None
    backbone: str = "resnet18"
    pretrained: bool | str = False
    epochs: int = 20
    batch_size: int = 128
    lr: float = 1e-3
    min_lr: float = 0.0
    weight_decay: float = 0.05
    size: int | None = None
    margin: float = 0.1
    detector: str = "auto"
    alignment: str = "none"
    dim: int = 128
    dropout: float = 0.0
    augmentation: bool | str = True
    ema: float = 0.0
    mirror: bool = False
    holdout: float = 0.0
    seed: int = 0
    precision: str = "32-true"

    @classmethod
    def of(cls, **given: Any) -> Settings:
        """Resolve what a user gave; None means the default, the method's own where it has one.

        Args:
            given: settings by name. `method` may be a class, `terms` a mapping of some terms, `use` text.

        Raises:
            UsageError: a name, method, term, estimator or form that does not exist, or a value of another
                type or out of its range; the message names the option.
        """
        return cls._resolve(given, import_classes=True)

    @classmethod
    def _resolve(cls, given: Mapping[str, Any], import_classes: bool) -> Settings:
        """As `of`; without importing what `module:Class` names, its own terms are taken as they are."""
        names = [f.name for f in fields(cls)]
        for name in given:
            if name not in names:
                raise unknown("setting", name, names, "These are the settings of `idfer fit`.")
        values = {name: value for name, value in given.items() if value is not None}
        method = values.pop("method", DEFAULT_METHOD)
        method = path_of(method) if isinstance(method, type) else str(method)
        entry = method_entry(method) if import_classes or not is_path(method) else None
        defaults: dict[str, Any] = {}
        if entry is not None:
            defaults = {**NETWORK, **entry.network, "decorrelate": entry.sample_weights}
        terms = values.pop("terms", {})
        if not isinstance(terms, Mapping) or not all(isinstance(name, str) for name in terms):
            raise UsageError(f"terms is {terms!r}; give a mapping of term names to values.")
        if "use" in values:
            used = values["use"]
            if not isinstance(used, (str, list, tuple)) or not all(isinstance(name, str) for name in used):
                raise UsageError(f"--use is {used!r}; give names of attributes, e.g. age,skin.")
            values["use"] = tuple(split_names(used) or [])
        settings = cls(**{**defaults, **values}, method=method, terms=dict(terms))
        settings._check(entry)  # before torch is loaded for the method's terms
        numbers: dict[str, Any] = {
            name: float(getattr(settings, name)) for name, kind in _KINDS.items() if kind == _NUMBER
        }
        settings = replace(settings, **numbers)  # 1 and 1.0 are one setting
        if not import_classes and (entry is None or is_path(str(terms.get("estimator", "")))):
            return settings
        if import_classes and is_path(settings.form):
            from idfer.models.residual import form_class

            form_class(settings.form)
        assert entry is not None
        return replace(settings, terms=_resolved_terms(entry, terms))

    @property
    def entry(self) -> MethodEntry:
        """The method's row in the catalogue."""
        return method_entry(self.method)

    @property
    def needs_attributes(self) -> bool:
        """Whether training reads retrieved attributes."""
        return self.entry.attributes or self.decorrelate

    def changed(self, **changes: Any) -> Settings:
        """The same settings with some replaced, checked. Raises as `of`."""
        settings = replace(self, **changes)
        settings._check(settings.entry)
        return settings

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for YAML, JSON and `of`."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return plain | {"terms": dict(self.terms), "use": None if self.use is None else list(self.use)}

    def hashed(self) -> dict[str, Any]:
        """What tells these settings from others: `to_dict`, less what was added since trials are kept.

        A setting that is newer than they are is left out where it does what was done before, so that trials
        and runs keep their names.
        """
        return {name: v for name, v in self.to_dict().items() if (name, v) not in _NEWER.items()}

    @classmethod
    def from_dict(cls, values: Any) -> Settings:
        """Read what `to_dict` wrote; every setting must be there but those that older runs do not have.

        To open somebody's run imports none of the classes that it names as its own method or estimator.

        Raises:
            IdferError: one is missing, unknown, malformed or out of its range.
        """
        if not isinstance(values, Mapping):
            raise IdferError(f"settings are {type(values).__name__}, not a mapping.")
        values = {**_LATER, **values}
        if missing := [f.name for f in fields(cls) if f.name not in values]:
            raise IdferError(f"setting {missing[0]!r} is missing.")
        try:
            return cls._resolve({str(name): value for name, value in values.items()}, import_classes=False)
        except UsageError as error:
            raise IdferError(str(error)) from error

    @property
    def digest(self) -> str:
        """16 hex digits of all settings."""
        return hashlib.sha256(json.dumps(self.hashed(), sort_keys=True).encode()).hexdigest()[:16]

    def _check(self, entry: MethodEntry | None) -> None:
        """Types and ranges of all settings, and that they go together."""
        for name, kind in _KINDS.items():
            _check_type(name, getattr(self, name), kind)
        for name, (low, high) in _RANGES.items():
            if (value := getattr(self, name)) is not None:
                _check_range(name, value, low, high)
        if self.min_lr > self.lr:
            raise UsageError(f"--min_lr is {self.min_lr!r}; it must be at most --lr, {self.lr!r}.")
        choices = {
            "form": ("residual form", FORMS), "retrieval": ("retrieval", RETRIEVALS), "head": ("head", HEADS),
            "attachment": ("attachment", ATTACHMENTS),
            "precision": ("precision", PRECISIONS), "alignment": ("alignment", ALIGNMENTS),
        }  # fmt: skip
        for name, (kind_name, known) in choices.items():
            value = getattr(self, name)
            if value not in known and not (name == "form" and is_path(value)):
                raise unknown(kind_name, value, list(known))
        if isinstance(self.augmentation, str) and self.augmentation not in AUGMENTATIONS:
            raise unknown("augmentation", self.augmentation, ["true", "false", *AUGMENTATIONS])
        if self.detector not in DETECTORS and not self.detector.lower().endswith(".onnx"):
            raise unknown("detector", self.detector, list(DETECTORS), "Or the path of a YuNet .onnx file.")
        if self.form != NETWORK["form"] and entry is not None and not entry.splits:
            raise UsageError(f"--form {self.form}: the method {self.method!r} has no residual modules.")
        if self.use is not None and not self.use:
            raise UsageError("--use names no attribute; name one, or leave the option out to use all.")
        if self.use is not None and len(set(self.use)) < len(self.use):
            raise UsageError(f"--use {','.join(self.use)}: names an attribute twice.")


_NEWER: Mapping[str, Any] = {"ema": 0.0, "mirror": False, "min_lr": 0.0, "dropout": 0.0}
"""Settings that are newer than kept trials, with what those did."""
_LATER: Mapping[str, Any] = {"alignment": "none", **_NEWER}
"""Settings that runs of this format may lack, with what those runs did."""
_NUMBER = (float, int)
_KINDS: Mapping[str, tuple[type, ...]] = {
    "form": (str,), "retrieval": (str,), "code": (int,), "head": (str,),
    "attachment": (str,), "decorrelate": (bool,),
    "backbone": (str,), "pretrained": (bool, str), "epochs": (int,), "batch_size": (int,), "lr": _NUMBER,
    "min_lr": _NUMBER, "weight_decay": _NUMBER, "size": (int, type(None)), "margin": _NUMBER,
    "detector": (str,), "alignment": (str,),
    "dim": (int,), "dropout": _NUMBER, "augmentation": (bool, str), "ema": _NUMBER, "mirror": (bool,),
    "holdout": _NUMBER, "seed": (int,), "precision": (str,),
}  # fmt: skip
_RANGES: Mapping[str, tuple[float, float]] = {
    "code": (0, WIDEST), "epochs": (1, 1e6), "batch_size": (2, 1e6), "lr": (1e-12, 1e30), "min_lr": (0, 1e30),
    "weight_decay": (0, 1e3), "size": (1, 4096), "margin": (0, 4), "dim": (1, WIDEST), "ema": (0, 0.99999),
    "dropout": (0, 0.95), "holdout": (0, 0.9), "seed": (0, SEED_MOST),
}  # fmt: skip
_SAID = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _check_type(name: str, value: Any, kinds: tuple[type, ...]) -> None:
    right = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if not right or (isinstance(value, float) and not math.isfinite(value)):
        named = kinds[:1] if kinds == _NUMBER else kinds
        wanted = " or ".join(_SAID[kind] for kind in named if kind in _SAID)
        raise UsageError(f"--{name} is {value!r}; it must be {wanted}.")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"--{name} is {value!r}; it must be from {low:g} to {high:.15g}.")


@dataclass(frozen=True)
class NoTerms:
    """The `Terms` of a method that has none."""


def _resolved_terms(entry: MethodEntry, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Every term with its value, the entry's presets under what a user gave."""
    from idfer.methods.common import terms_of

    kind = getattr(entry.load(), "Terms", NoTerms)
    resolved = asdict(terms_of(kind, {**entry.terms, **given}))
    if isinstance(resolved.get("estimator"), str):
        from idfer.methods.penalty import estimator_class

        estimator_class(resolved["estimator"])
    return resolved
