"""A trained decoder on the disk: weights, and which run it belongs to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml

from idfer.decoding.concepts import Concepts
from idfer.errors import IdferError, UsageError, unknown
from idfer.files import atomic, read_yaml, sha256
from idfer.models.decoder import Decoder
from idfer.models.flow import Flow
from idfer.training.checkpoint import MODEL, read_tensors

if TYPE_CHECKING:
    from idfer.decoding.reading import Reading
    from idfer.training.checkpoint import Checkpoint

FOLDER, CONFIG, WEIGHTS = "decoder", "decoder.yaml", "decoder.safetensors"
SCHEMA = "idfer.decoder/3"
Kind = Literal["fast", "flow"]


@dataclass(frozen=True)
class Drawn:
    """What a decoder draws and from what.

    Attributes:
        run: names the features it was trained on (`features_of`).
        identity_of: the same of the run whose identity features those are; that run, or another beside a
            control.
        expression: D, width of expression features.
        identity: number and width of identity features.
        size: side of its pictures, pixels.
        epochs: it was trained for.
        faces: it was trained on.
        kind: "fast" draws the mean of what could be, "flow" one of them.
    """

    run: str
    identity_of: str
    expression: int
    identity: tuple[int, int]
    size: int
    epochs: int
    faces: int
    kind: Kind = "fast"

    @classmethod
    def of(
        cls,
        reading: Reading,
        size: int,
        epochs: int,
        run: str = "",
        identity_of: str = "",
        kind: Kind = "fast",
    ) -> Drawn:
        """What a decoder of these features draws."""
        count, width = reading.identity.shape[1:]
        shape = reading.expression.shape[1], (count, width)
        return cls(run, identity_of or run, *shape, size, epochs, len(reading), kind)

    def decoder(self) -> Decoder | Flow:
        """A decoder of this kind and shape, untrained.

        Raises:
            UsageError: no such kind.
        """
        kinds: dict[str, type[Decoder | Flow]] = {"fast": Decoder, "flow": Flow}
        if self.kind not in kinds:
            raise unknown("kind", self.kind, list(kinds))
        return kinds[self.kind](self.expression, self.identity, self.size)


@dataclass(frozen=True)
class Kept:
    """A decoder read from the disk.

    Attributes:
        decoder: in eval mode, on the device of its run.
        concepts: what each attribute makes in the features; None where nobody knew the training faces'.
        drawn: what it draws.
    """

    decoder: Decoder | Flow
    concepts: Concepts | None
    drawn: Drawn


def save(folder: Path, decoder: Decoder | Flow, drawn: Drawn, concepts: Concepts | None = None) -> None:
    """Write a decoder into a folder."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in decoder.state_dict().items()}
    tensors |= {} if concepts is None else concepts.tensors()
    with atomic(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    with atomic(folder / CONFIG) as temporary:
        content = {"schema": SCHEMA, **asdict(drawn), "identity": list(drawn.identity)}
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def features_of(checkpoint: Checkpoint) -> str:
    """What names a run's features: SHA-256 of its weights, and whether it looks at mirror images too."""
    return sha256(checkpoint.path / MODEL) + ("-mirror" if checkpoint.network.mirror else "")


def load(folder: Path, checkpoint: Checkpoint, identity: Checkpoint | None = None) -> Kept:
    """Read a run's decoder.

    Args:
        folder: of the decoder.
        checkpoint: the run whose expression features it draws.
        identity: the run whose identity features it draws; None is the same.

    Raises:
        UsageError: there is none, or it is of another run.
        IdferError: its files are damaged.
    """
    if not (folder / CONFIG).is_file():
        raise UsageError(
            f"{folder}: no decoder; train one with `idfer decode fit {checkpoint.path} MANIFEST`, or name "
            "its folder with --decoder."
        )
    found = read(folder)
    for of, given in ((checkpoint, found.drawn.run), (identity or checkpoint, found.drawn.identity_of)):
        if given != features_of(of):
            raise UsageError(
                f"{folder}: is the decoder of another run than {of.path} (or that was trained again); "
                "features of one mean nothing to the other. Train one with `idfer decode fit`."
            )
    device = checkpoint.device
    concepts = None if found.concepts is None else found.concepts.to(device)
    return Kept(found.decoder.to(device), concepts, found.drawn)


def read(folder: Path) -> Kept:
    """Read a decoder, whoever's it is, onto the CPU.

    Raises:
        IdferError: its files are damaged.
    """
    try:
        content = read_yaml(folder / CONFIG)
        if content.pop("schema", None) != SCHEMA:
            raise IdferError(f"{folder / CONFIG}: is not of format {SCHEMA}; train the decoder again.")
        drawn = Drawn(**content | {"identity": tuple(content.get("identity", ()))})
        decoder = drawn.decoder()
    except (TypeError, ValueError) as error:
        raise IdferError(f"{folder / CONFIG}: is damaged ({error}); train the decoder again.") from error
    tensors, _ = read_tensors(folder / WEIGHTS)
    concepts = Concepts.taken_from(tensors)
    try:
        decoder.load_state_dict(tensors)
    except RuntimeError as error:
        raise IdferError(
            f"{folder / WEIGHTS}: does not fit its {CONFIG}; train the decoder again."
        ) from error
    return Kept(decoder.eval(), concepts, drawn)
