"""How a decoder learns to draw: from features of any kind, some attributes left out at random."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from idfer.decoding import losses
from idfer.decoding.checkpoint import Drawn, save
from idfer.decoding.reading import Reading, read_faces
from idfer.errors import IdferError
from idfer.inference.notices import say
from idfer.methods.optimise import schedule
from idfer.models.decoder import Decoder
from idfer.models.flow import Flow
from idfer.progress import bar
from idfer.training.checkpoint import STATE, load_state, save_state

if TYPE_CHECKING:
    from idfer.decoding.concepts import Concepts
    from idfer.training.checkpoint import Checkpoint

PIXELS, EDGES, REREAD = 10.0, 1.0, 0.02  # weights
SHOWN = (0.4, 0.2)  # shares of training faces with every attribute attached, and with none
LENT = 0.5  # share whose identity features are of another photograph of the same person
_HASHED = 1024  # pictures at a time


@dataclass(frozen=True)
class Faces:
    """N faces to learn from.

    Attributes:
        crops: (N, 3, S, S) uint8, of the size that is to be drawn.
        straight: what is read from them.
        mirrored: what is read from their mirror images; None where those are not shown.
        person: (N,) whose face each is, from 0; None where nobody's identity is lent.
    """

    crops: Tensor
    straight: Reading
    mirrored: Reading | None = None
    person: Tensor | None = None


def faces_of(
    trained: Checkpoint, crops: np.ndarray, subjects: np.ndarray, identity: Checkpoint | None = None
) -> Faces:
    """N crops (N, S, S, 3) uint8 of N named subjects with what a run reads from them; see `read_faces`."""
    return Faces(
        torch.from_numpy(crops).permute(0, 3, 1, 2),
        read_faces(trained, crops, identity),
        read_faces(trained, np.ascontiguousarray(crops[:, :, ::-1]), identity),
        torch.from_numpy(np.unique(subjects, return_inverse=True)[1].ravel()),
    )


def read_again(trained: Checkpoint, decoded: Tensor) -> Tensor:
    """(B, D) expression feature that a run reads from decoded faces (B, 3, s, s); differentiable."""
    if decoded.shape[-1] != (side := trained.preprocess.size):
        decoded = F.interpolate(decoded, (side, side), mode="bilinear", antialias=True)
    mean: Tensor = trained.network(trained.preprocess.normalise(decoded * 255), sample=False).mean
    return mean


def train_decoder(
    drawn: Drawn,
    faces: Faces,
    *,
    reread: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 64,
    lr: float = 0.002,
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    folder: Path | None = None,
    progress: bool = True,
) -> Decoder | Flow:
    """Train a decoder from features of any kind.

    Args:
        drawn: its kind and shape, and for how many epochs.
        faces: to learn from.
        reread: gives the expression feature of decoded faces, which should be that asked for; None without.
            A flow does without.
        batch_size: faces per step.
        lr: peak learning rate.
        seed: of weights, order and what is left out.
        device: where.
        precision: of the networks; losses are in float32.
        folder: where the state is kept after every epoch, to go on from with the same faces and settings;
            None keeps none.
        progress: show a bar.

    Raises:
        IdferError: the loss is not finite.
    """
    target = faces.crops
    torch.manual_seed(seed)
    decoder: Decoder | Flow = drawn.decoder().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    decoder.condition.calibrate(faces.straight.expression, faces.straight.identity)
    partners = Partners.of(faces.person)
    kind = next(decoder.parameters()).device.type
    adam = torch.optim.AdamW(decoder.parameters(), lr=lr, weight_decay=1e-4)
    steps = max(1, len(target) // batch_size)
    rate = schedule(adam, steps * drawn.epochs)
    parts: dict[str, Any] = {"decoder": decoder, "adam": adam, "schedule": rate}
    asked = repr((drawn, batch_size, lr, seed, precision))
    of_faces = "" if folder is None else _digest(faces)
    begun = _restore(folder, parts, asked, of_faces)
    with bar("decode fit", drawn.epochs * steps, progress) as advance:
        advance(begun * steps, "")
        for epoch in range(begun, drawn.epochs):
            generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
            order = torch.randperm(len(target), generator=generator)
            for step in range(steps):
                rows = order[step * batch_size : (step + 1) * batch_size]
                with torch.autocast(kind, torch.bfloat16, precision == "bf16-mixed"):
                    loss = _loss(decoder, faces, target, rows, partners, reread, generator)
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise IdferError(f"the loss became {value}; lower --lr and run again.")
                adam.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
                adam.step()
                rate.step()
                advance(1, f"loss {value:.4f}")
            if folder is not None:
                state = {"epoch": epoch + 1, "asked": asked, "faces": of_faces}
                save_state(folder, state | {name: part.state_dict() for name, part in parts.items()})
    if partners is None or not bool((partners.count > 1).any()):  # nobody lent anybody anything
        condition = decoder.condition
        condition.read_lent.data.copy_(condition.read_identity.data)
    return decoder.eval()


def train_and_keep(
    folder: Path, drawn: Drawn, faces: Faces, concepts: Concepts | None, **options: Any
) -> None:
    """Train a decoder and write it into a folder; what was interrupted there goes on.

    Args:
        folder: of the decoder.
        drawn: as for `train_decoder`.
        faces: to learn from.
        concepts: what each attribute makes in their features, to be kept beside it.
        options: of `train_decoder`, whose errors are raised.
    """
    folder.mkdir(parents=True, exist_ok=True)
    decoder = train_decoder(drawn, faces, folder=folder, **options)
    save(folder, decoder, drawn, concepts)
    (folder / STATE).unlink(missing_ok=True)


@dataclass(frozen=True)
class Partners:
    """Another photograph of the same person, for every face.

    Attributes:
        order: (N,) rows person by person.
        place: (N,) where each row is in that order.
        start: (N,) where its person begins.
        count: (N,) how many faces its person has.
    """

    order: Tensor
    place: Tensor
    start: Tensor
    count: Tensor

    @classmethod
    def of(cls, person: Tensor | None) -> Partners | None:
        """Of (N,) people numbered from 0; None without."""
        if person is None:
            return None
        order = person.argsort(stable=True)
        counts = person.bincount()
        return cls(order, order.argsort(), (counts.cumsum(0) - counts)[person], counts[person])

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """(B,) another row of each row's person; the row itself where there is no other."""
        start, count = self.start[rows], self.count[rows]
        ahead = 1 + (torch.rand(len(rows), generator=generator) * (count - 1)).long()
        return self.order[start + (self.place[rows] - start + ahead.clamp(max=count)) % count]


def _loss(
    decoder: Decoder | Flow,
    faces: Faces,
    target: Tensor,
    rows: Tensor,
    partners: Partners | None,
    reread: Callable[[Tensor], Tensor] | None,
    generator: torch.Generator,
) -> Tensor:
    """The loss on some faces, all mirrored or none, with some of their attributes shown, some lent."""
    of, true = faces.straight, target[rows]
    if faces.mirrored is not None and torch.rand(1, generator=generator) < 0.5:
        of, true = faces.mirrored, true.flip(3)
    read = of.rows(rows)
    true = true.to(read.expression.device).float() / 255
    shown = _shown(read.identity.shape[:2], generator)
    who, lent = read.identity, torch.zeros(len(rows))
    if partners is not None:
        other = partners.draw(rows, generator)
        chosen = torch.rand(len(rows), generator=generator) < LENT
        lent = (chosen & (other != rows) & shown.any(1)).float()
        who = of.identity[torch.where(lent > 0, other, rows)]
    asked = decoder.condition(read.drawn(generator), who, shown.to(true.device), lent.to(true.device))
    if isinstance(decoder, Flow):
        return losses.velocity(decoder, true, asked, generator)
    decoded = decoder(asked).float()
    loss = PIXELS * losses.pixels(decoded, true) + EDGES * losses.edges(decoded, true)
    if reread is None:
        return loss
    scale = decoder.condition.expression_scale
    return loss + REREAD * losses.reread(reread(decoded).float(), read.expression, scale)


def _shown(shape: Any, generator: torch.Generator) -> Tensor:
    """(B, A) which attributes are shown: all, none, or each by the toss of a coin."""
    draw = torch.rand(shape[0], 1, generator=generator)
    coins = (torch.rand(*shape, generator=generator) < 0.5).float()
    return torch.where(draw < SHOWN[0], 1.0, torch.where(draw > 1 - SHOWN[1], 0.0, coins))


def _digest(faces: Faces) -> str:
    """SHA-256 of the pictures and of whose they are.

    Not of what is read from them: its last bits hang on the machine, and which run reads is known otherwise.
    """
    digest = hashlib.sha256()
    for part in faces.crops.split(_HASHED):
        digest.update(part.permute(0, 2, 3, 1).numpy().tobytes())  # as they lie in memory
    if faces.person is not None:
        digest.update(faces.person.numpy().tobytes())
    return digest.hexdigest()


def _restore(folder: Path | None, parts: dict[str, Any], asked: str, of_faces: str) -> int:
    """The epoch to go on from; 0 where nothing was begun, or something else was."""
    state = load_state(folder) if folder is not None else None
    if state is None or state.get("asked") != asked:
        return 0
    if state.get("faces") != of_faces:
        why = "of other faces" if "faces" in state else "by an earlier idfer, of faces that it did not note"
        say(f"{folder}: a decoder was begun there {why}; it is trained from the start.")
        return 0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["epoch"])
