"""What exists by name: methods, leakage penalties, protocols. The only lists; nothing heavy is imported.

Help texts, validation, searches, report and figure read them here, so a method is a file, a row of `METHODS`
and a test. A class of a user's own goes by `module:Class` wherever a name is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from idfer.errors import UsageError, unknown
from idfer.names import is_path, load_object
from idfer.search import Choice, Range, Ranges

_NOTHING: Mapping[str, Any] = MappingProxyType({})
LEARNING_RATE = Range(0.0008, 0.008)  # around the budget's 0.0025 [ours]


@dataclass(frozen=True)
class MethodEntry:
    """A method: where it lives, what it needs, how it is searched and shown.

    Attributes:
        path: MODULE:CLASS.
        title: a few words for tables and help.
        role: what it is in a comparison: "ours", a "part" of ours, which is shown but beats and loses to
            nobody, or a "baseline".
        attributes: whether it learns from retrieved attributes.
        splits: whether its network has residual modules, so that attributes can be detached at run time.
        sample_weights: whether decorrelation weights are on unless a user says otherwise.
        network: defaults of `form`, `retrieval`, `code`, `head` and `attachment` that differ from `NETWORK`.
        terms: defaults that differ from those of the class's `Terms` (a preset of another method).
        people_per_batch: batches hold several faces each of about so many people; 0: drawn at random.
        search: what a benchmark draws settings from, by name (`lr`, `terms.NAME`); the learning rate is
            always searched.

    Raises:
        UsageError: `search` is no mapping of names to ranges and choices.
    """

    path: str
    title: str = ""
    role: Literal["ours", "part", "baseline"] = "baseline"
    attributes: bool = False
    splits: bool = False
    sample_weights: bool = False
    network: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    terms: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    people_per_batch: int = 0
    search: Ranges = field(default_factory=lambda: _NOTHING)

    def __post_init__(self) -> None:
        known = isinstance(self.search, Mapping) and all(
            isinstance(searched, (Range, Choice)) for searched in self.search.values()
        )
        if not known:
            raise UsageError(
                f"{self.path or 'entry'}: search is {self.search!r}; map names to ranges or choices of "
                'idfer.search, e.g. {"terms.weight": Range(0.01, 1)}.'
            )
        object.__setattr__(self, "search", MappingProxyType({"lr": LEARNING_RATE, **self.search}))

    def load(self) -> Any:
        """Import the class (loads torch).

        Raises:
            UsageError: there is no such module or class.
        """
        kind = load_object(self.path, "method")
        if not isinstance(kind, type) or not callable(getattr(kind, "step", None)):
            raise UsageError(
                f"method {self.path!r}: is no class with a `step`; see docs/extend.md, or start from "
                "idfer.methods.common.Plain."
            )
        return kind


NETWORK: Mapping[str, Any] = MappingProxyType(
    {"form": "distilled", "retrieval": "soft", "code": 0, "head": "mlp", "attachment": "features"}
)
"""What a network is unless its method or a user says otherwise."""


_IDFER: Ranges = {
    "terms.prior_power": Choice(1.0, 1.2, 1.4, 1.7), "terms.information": Range(0.3, 3),
    "terms.va_late": Range(0.1, 1.5),
}  # fmt: skip

_STEPS = Choice(True, False)  # as the authors' code has it, or both losses in one step, at half the cost
_ADVERSARY: Ranges = {"terms.weight": Range(0.01, 1)}

METHODS: Mapping[str, MethodEntry] = {
    "erm": MethodEntry("idfer.methods.erm:ERM", "plain regression"),
    "idfer": MethodEntry(
        "idfer.methods.idfer:Idfer", "information given identity, with a budget", "ours", attributes=True,
        splits=True, sample_weights=True, network={"code": 8, "attachment": "evidence"}, search=_IDFER,
    ),
    "conditional": MethodEntry(
        "idfer.methods.idfer:Idfer", "information given identity alone", "part", attributes=True, splits=True,
        terms={"residual": 0.0, "alpha": 0.0, "attach": 0.0}, search=_IDFER,
    ),
    "lineage": MethodEntry(
        "idfer.methods.idfer:Idfer", "the lineage's residual modules and CLUB", attributes=True, splits=True,
        network={"form": "residual_post", "retrieval": "hard", "head": "bottleneck"},
        terms={
            "information": 0.0, "residual": 0.0, "attach": 0.0, "beta": 0.02, "estimator": "club_categorical",
            "ramp_from": 0.0, "ramp_to": 0.2, "va_late": 1.0,
        },
        search={"terms.beta": Choice(0.0, 0.002, 0.006, 0.02, 0.06, 0.2, 0.5)},
    ),
    "erm_weights": MethodEntry(
        "idfer.methods.erm:ERM", "plain regression, decorrelation weights", sample_weights=True
    ),
    "bmse": MethodEntry(
        "idfer.methods.bmse:BMSE", "Balanced MSE, CVPR 2022",
        search={"terms.form": Choice("bmc", "bni"), "terms.sigma": Range(0.1, 0.9)},
    ),
    "adversarial": MethodEntry(
        "idfer.methods.adversarial:Adversarial", "gradient reversal", attributes=True, search=_ADVERSARY
    ),
    "adversarial_weights": MethodEntry(
        "idfer.methods.adversarial:Adversarial", "gradient reversal, decorrelation weights", attributes=True,
        sample_weights=True, search=_ADVERSARY,
    ),
    "cdann": MethodEntry(
        "idfer.methods.cdann:CDANN", "gradient reversal given the label, ECCV 2018", attributes=True,
        search=_ADVERSARY,
    ),
    "hsic": MethodEntry(
        "idfer.methods.hsic:HSICPenalty", "kernel independence", attributes=True,
        search={"terms.weight": Range(0.03, 10)},
    ),
    "groupdro": MethodEntry(
        "idfer.methods.groupdro:GroupDRO", "worst group first", attributes=True,
        search={
            "terms.eta": Range(0.001, 0.1), "terms.quadrants": Choice(True, False),
            "terms.uniform": Choice(True, False),
        },
    ),
    "caf": MethodEntry(
        "idfer.methods.caf:CAF", "AAAI 2021",
        search={
            "terms.weight": Range(0.01, 1), "terms.critic_lr": Range(0.00003, 0.002),
            "terms.two_steps": _STEPS,
        },
    ),
    "avce": MethodEntry(
        "idfer.methods.avce:AVCE", "ECCV 2022",
        search={
            "terms.weight": Range(0.00001, 0.01), "terms.regulariser": Range(0.01, 3),
            "terms.two_steps": _STEPS,
        },
    ),
    "erm_people": MethodEntry(
        "idfer.methods.erm:ERM", "plain regression, ELIM's batches", people_per_batch=16
    ),
    "elim": MethodEntry(
        "idfer.methods.elim:ELIM", "NeurIPS 2022", people_per_batch=16,
        search={
            "terms.weight": Range(0.001, 0.5), "terms.topk": Choice(2, 3, 4), "terms.two_steps": _STEPS
        },
    ),
    "dice": MethodEntry(
        "idfer.methods.dice:DICE", "CVPRW 2025",
        search={
            "terms.alpha": Range(0.0005, 0.1), "terms.beta": Range(0.0005, 0.1),
            "terms.two_stages": Choice(True, False),
        },
    ),
}  # fmt: skip

FORMS: Mapping[str, str] = {
    "distilled": "idfer.models.forms.distilled:Distilled",
    "simple": "idfer.models.forms.simple:Simple",
    "residual_post": "idfer.models.forms.residual_post:ResidualPost",
    "residual_prev": "idfer.models.forms.residual_prev:ResidualPrev",
}
"""Forms of residual modules: where each lives."""

ESTIMATORS: Mapping[str, str] = {
    "club": "idfer.objectives.club:CLUB",
    "club_sampled": "idfer.objectives.club_sampled:ClubSampled",
    "conditional_club": "idfer.objectives.conditional_club:ConditionalCLUB",
    "l1out": "idfer.objectives.l1out:L1Out",
    "infonce": "idfer.objectives.infonce:InfoNCE",
    "nwj": "idfer.objectives.nwj:NWJ",
    "mine": "idfer.objectives.mine:MINE",
    "jsd": "idfer.objectives.jsd:JSD",
    "smile": "idfer.objectives.smile:SMILE",
    "club_categorical": "idfer.objectives.club_categorical:ClubCategorical",
    "adversary": "idfer.objectives.gradient_reversal:Adversary",
    "hsic": "idfer.objectives.hsic:HSIC",
}
"""Estimators of I(z_exp; c[a]), to minimise as a penalty: where each lives."""

MAXIMISED: Mapping[str, str] = {"barber_agakov": "idfer.objectives.barber_agakov:BarberAgakov"}
"""Estimators to maximise only."""

BOUNDS: Mapping[str, Literal["lower", "upper"]] = {
    "barber_agakov": "lower", "infonce": "lower", "nwj": "lower", "mine": "lower", "jsd": "lower",
    "smile": "lower", "club": "upper", "club_sampled": "upper", "l1out": "upper",
}  # fmt: skip
"""Which side of the mutual information an estimator is meant to be on; `benchmark mi` measures these."""

DEFAULT_METHOD = "idfer"
RETRIEVALS = ("soft", "hard", "truth")
HEADS = ("mlp", "bottleneck")
ATTACHMENTS = ("evidence", "features")
"""What attaching an attribute adds: what it says of the label, or its identity feature."""
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def method_entry(name: str) -> MethodEntry:
    """The entry of a method, or of a class given as `module:Class`.

    A class may say what it needs in a class attribute `entry`, a `MethodEntry` (its path is ignored).

    Raises:
        UsageError: no such method, module or class.
    """
    if name in METHODS:
        return METHODS[name]
    if not is_path(name):
        raise unknown("method", name, list(METHODS), "Or give a class of your own as module:Class.")
    declared = getattr(load_object(name, "method"), "entry", None)
    if declared is None:
        return MethodEntry(name, name)
    if not isinstance(declared, MethodEntry):
        raise UsageError(f"{name}: its class attribute `entry` must be an idfer.catalogue.MethodEntry.")
    return replace(declared, path=name, title=declared.title or name)


F = TypeVar("F", bound=Callable[..., Any])


def names_filled_in(function: F) -> F:
    """Put the catalogue's names into a docstring: `{methods}`, `{forms}`, and so on."""
    catalogue = {
        "methods": METHODS, "forms": FORMS, "retrievals": RETRIEVALS, "heads": HEADS,
        "attachments": ATTACHMENTS, "protocols": PROTOCOLS,
    }  # fmt: skip
    for key, names in catalogue.items():
        listed = ", ".join(names)
        function.__doc__ = (function.__doc__ or "").replace(f"{{{key}}}", listed)
    return function


@dataclass(frozen=True)
class Listed:
    """A shift protocol or a reader: where it lives, and a few words for tables and help."""

    path: str
    title: str


def _listed(package: str, attribute: str, titles: Mapping[str, str]) -> Mapping[str, Listed]:
    """What a package has in a module each, which is called like it."""
    return {
        name: Listed(f"{package}.{name.replace('-', '_')}:{attribute}", title)
        for name, title in titles.items()
    }


PROTOCOLS = _listed(
    "idfer.experiments.protocols",
    "DESIGN",
    {
        "correlation": "a shortcut that holds, vanishes, turns round",
        "sweep": "the same, from none to strong",
        "extrapolation": "people unlike any in training",
        "minority": "a group that training hardly shows",
        "few-people": "many images of few people",
        "raters": "labels biased by who is rated",
        "retrieval-noise": "attributes misread on darker skin",
        "hidden": "a shortcut that no attribute names",
        "expressivity": "older people show less, then more",
    },
)
"""Shift protocols of `idfer benchmark shift --protocol`; each is an `experiments.protocols.design.Design`."""


READERS = _listed(
    "idfer.data.readers",
    "read",
    {
        "affectnet": "AffectNet, the release of 2017 or of 2021",
        "aff-wild": "Aff-Wild, frames of videos",
        "aff-wild2": "Aff-Wild2, the ABAW track of valence and arousal",
        "afew-va": "AFEW-VA, film clips with known actors",
        "omg": "OMG-Emotion, utterances saved as images",
        "table": "any CSV or Parquet file of labels",
        "folder": "images in folders named by emotion",
    },
)
"""Readers of `idfer manifest` and `idfer.data.read`; each is a `data.readers.tally.Reader`."""
