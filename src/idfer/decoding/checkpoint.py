"""A trained decoder on the disk: weights, and which run it belongs to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from idfer.errors import IdferError, UsageError
from idfer.files import atomic, read_yaml, sha256
from idfer.models.decoder import Decoder
from idfer.training.checkpoint import MODEL, read_tensors

if TYPE_CHECKING:
    from idfer.decoding.reading import Reading
    from idfer.training.checkpoint import Checkpoint

FOLDER, CONFIG, WEIGHTS = "decoder", "decoder.yaml", "decoder.safetensors"
SCHEMA = "idfer.decoder/1"


@dataclass(frozen=True)
class Drawn:
    """What a decoder draws and from what.

    Attributes:
        run: SHA-256 of the weights of the run whose features it was trained on.
        expression: D, width of expression features.
        identity: number and width of identity features.
        size: side of its pictures, pixels.
        epochs: it was trained for.
        faces: it was trained on.
    """

    run: str
    expression: int
    identity: tuple[int, int]
    size: int
    epochs: int
    faces: int

    @classmethod
    def of(cls, reading: Reading, size: int, epochs: int, run: str = "") -> Drawn:
        """What a decoder of these features draws."""
        count, width = reading.identity.shape[1:]
        return cls(run, reading.expression.shape[1], (count, width), size, epochs, len(reading))

    def decoder(self) -> Decoder:
        """A decoder of this shape, untrained."""
        return Decoder(self.expression, self.identity, self.size)


def save(folder: Path, decoder: Decoder, drawn: Drawn) -> None:
    """Write a decoder into a folder."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in decoder.state_dict().items()}
    with atomic(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    with atomic(folder / CONFIG) as temporary:
        content = {"schema": SCHEMA, **asdict(drawn), "identity": list(drawn.identity)}
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def load(folder: Path, checkpoint: Checkpoint) -> Decoder:
    """Read a run's decoder, in eval mode on the run's device.

    Raises:
        UsageError: there is none, or it is of another run.
        IdferError: its files are damaged.
    """
    if not (folder / CONFIG).is_file():
        raise UsageError(
            f"{folder}: no decoder; train one with `idfer decode fit {checkpoint.path} MANIFEST`, or name "
            "its folder with --decoder."
        )
    try:
        content = read_yaml(folder / CONFIG)
        if content.pop("schema", None) != SCHEMA:
            raise IdferError(f"{folder / CONFIG}: is not of format {SCHEMA}; train the decoder again.")
        drawn = Drawn(**content | {"identity": tuple(content.get("identity", ()))})
        decoder = drawn.decoder()
    except (TypeError, ValueError) as error:
        raise IdferError(f"{folder / CONFIG}: is damaged ({error}); train the decoder again.") from error
    if drawn.run != sha256(checkpoint.path / MODEL):
        raise UsageError(
            f"{folder}: is the decoder of another run than {checkpoint.path} (or that was trained again); "
            "features of one mean nothing to the other. Train one with `idfer decode fit`."
        )
    tensors, _ = read_tensors(folder / WEIGHTS)
    try:
        decoder.load_state_dict(tensors)
    except RuntimeError as error:
        raise IdferError(
            f"{folder / WEIGHTS}: does not fit its {CONFIG}; train the decoder again."
        ) from error
    return decoder.eval().to(checkpoint.device)
