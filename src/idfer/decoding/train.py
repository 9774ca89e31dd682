"""How a decoder learns to draw: from features of any kind, some attributes left out at random."""

from __future__ import annotations

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
from idfer.decoding.checkpoint import Drawn
from idfer.decoding.reading import Reading, read_faces
from idfer.errors import IdferError
from idfer.methods.optimise import schedule
from idfer.models.decoder import Decoder
from idfer.progress import bar
from idfer.training.checkpoint import load_state, save_state

if TYPE_CHECKING:
    from idfer.training.checkpoint import Checkpoint

PIXELS, EDGES, REREAD = 10.0, 1.0, 0.02  # weights
SHOWN = (0.4, 0.2)  # shares of training faces with every attribute attached, and with none


@dataclass(frozen=True)
class Faces:
    """N faces to learn from.

    Attributes:
        crops: (N, 3, S, S) uint8.
        straight: what is read from them.
        mirrored: what is read from their mirror images; None where those are not shown.
    """

    crops: Tensor
    straight: Reading
    mirrored: Reading | None = None


def faces_of(trained: Checkpoint, crops: np.ndarray) -> Faces:
    """N crops (N, S, S, 3) uint8 with what a run reads from them."""
    return Faces(
        torch.from_numpy(crops).permute(0, 3, 1, 2),
        read_faces(trained, crops),
        read_faces(trained, np.ascontiguousarray(crops[:, :, ::-1])),
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
) -> Decoder:
    """Train a decoder from features of any kind.

    Args:
        drawn: its shape, and for how many epochs.
        faces: to learn from.
        reread: gives the expression feature of decoded faces, which should be that asked for; None without.
        batch_size: faces per step.
        lr: peak learning rate.
        seed: of weights, order and what is left out.
        device: where.
        precision: of the networks; losses are in float32.
        folder: where the state is kept after every epoch, to go on from; None keeps none.
        progress: show a bar.

    Raises:
        IdferError: the loss is not finite.
    """
    target = faces.crops
    if drawn.size != target.shape[-1]:
        target = F.interpolate(target.float(), (drawn.size,) * 2, mode="area").round().byte()
    torch.manual_seed(seed)
    decoder: Decoder = drawn.decoder().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    decoder.calibrate(faces.straight.expression, faces.straight.identity)
    adam = torch.optim.AdamW(decoder.parameters(), lr=lr, weight_decay=1e-4)
    steps = max(1, len(target) // batch_size)
    rate = schedule(adam, steps * drawn.epochs)
    parts: dict[str, Any] = {"decoder": decoder, "adam": adam, "schedule": rate}
    begun = _restore(folder, parts, drawn)
    with bar("decode fit", drawn.epochs * steps, progress) as advance:
        advance(begun * steps, "")
        for epoch in range(begun, drawn.epochs):
            generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
            order = torch.randperm(len(target), generator=generator)
            for step in range(steps):
                rows = order[step * batch_size : (step + 1) * batch_size]
                with torch.autocast(decoder.start.device.type, torch.bfloat16, precision == "bf16-mixed"):
                    loss = _loss(decoder, faces, target, rows, reread, generator)
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
                state = {"epoch": epoch + 1, "drawn": repr(drawn)}
                save_state(folder, state | {name: part.state_dict() for name, part in parts.items()})
    return decoder.eval()


def _loss(
    decoder: Decoder,
    faces: Faces,
    target: Tensor,
    rows: Tensor,
    reread: Callable[[Tensor], Tensor] | None,
    generator: torch.Generator,
) -> Tensor:
    """The loss on some faces, all mirrored or none, with some of their attributes shown."""
    read, true = faces.straight.rows(rows), target[rows]
    if faces.mirrored is not None and torch.rand(1, generator=generator) < 0.5:
        read, true = faces.mirrored.rows(rows), true.flip(3)
    true = true.to(read.expression.device).float() / 255
    shown = _shown(read.identity.shape[:2], generator).to(true.device)
    decoded = decoder(read.drawn(generator), read.identity, shown).float()
    loss = PIXELS * losses.pixels(decoded, true) + EDGES * losses.edges(decoded, true)
    if reread is None:
        return loss
    return loss + REREAD * losses.reread(reread(decoded).float(), read.expression, decoder.expression_scale)


def _shown(shape: Any, generator: torch.Generator) -> Tensor:
    """(B, A) which attributes are shown: all, none, or each by the toss of a coin."""
    draw = torch.rand(shape[0], 1, generator=generator)
    coins = (torch.rand(*shape, generator=generator) < 0.5).float()
    return torch.where(draw < SHOWN[0], 1.0, torch.where(draw > 1 - SHOWN[1], 0.0, coins))


def _restore(folder: Path | None, parts: dict[str, Any], drawn: Drawn) -> int:
    """The epoch to go on from; 0 where nothing was begun, or another decoder was."""
    state = load_state(folder) if folder is not None else None
    if state is None or state["drawn"] != repr(drawn):
        return 0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["epoch"])
