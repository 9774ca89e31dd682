"""`decode fit`: train a decoder on the features of a trained run, whose weights stay as they are."""

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

from idfer.decoding import checkpoint as kept
from idfer.decoding import losses
from idfer.decoding.reading import Reading, check_readable, read_faces
from idfer.errors import IdferError
from idfer.files import sha256
from idfer.models.decoder import Decoder
from idfer.progress import bar
from idfer.ranges import check_at_least, check_seed
from idfer.training.checkpoint import MODEL, STATE, load_checkpoint, load_state, save_state

if TYPE_CHECKING:
    from idfer.data.manifest import Manifest
    from idfer.training.checkpoint import Checkpoint

PIXELS, EDGES, REREAD = 10.0, 1.0, 0.02  # weights
SHOWN = (0.4, 0.2)  # shares of training faces with every attribute attached, and with none


def decode_fit(
    run: str | Path,
    manifest: str | Path | Manifest,
    *,
    out: str | Path | None = None,
    size: int | None = None,
    epochs: int = 30,
    batch_size: int = 64,
    lr: float = 0.002,
    seed: int = 0,
    device: str = "auto",
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    progress: bool = True,
) -> Path:
    """Train a decoder that draws faces from the features of a trained run.

    It is trained on the `train` split: from a draw of the expression feature and identity features, some of
    them left out at random, to the face. So it can also draw what is left when attributes are detached. The
    run itself does not change. The same command goes on where it was interrupted.

    Args:
        run: folder of a run whose method splits, e.g. idfer.
        manifest: faces to draw: best those that the run was trained on.
        out: folder of the decoder; RUN/decoder by default.
        size: side of the pictures: 16, 32, 64, 128 or 256 pixels; by default the largest that is no larger
            than the run's input.
        epochs: passes over the faces.
        batch_size: faces per step.
        lr: peak learning rate of AdamW.
        seed: of weights, order and what is left out.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: 32-true, or bf16-mixed: twice as fast on processors that have it.
        progress: show a progress bar.

    Returns:
        The decoder's folder.

    Raises:
        UsageError: the run has no identity features, or a value is out of range.
        IdferError: no face can be read, or the loss is not finite.
    """
    from idfer.data.manifest import Manifest

    check_seed(seed)
    for name, value in (("--epochs", epochs), ("--batch_size", batch_size)):
        check_at_least(value, 1, name)
    trained = load_checkpoint(run, device)
    check_readable(trained)
    faces = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
    folder = Path(out) if out is not None else trained.path / kept.FOLDER
    crops = _crops(trained, faces.select("train") if "train" in faces.splits else faces, progress)
    drawn = kept.Drawn(
        sha256(trained.path / MODEL), trained.network.dim, _identity(trained), size or _largest(trained),
        epochs, len(crops),
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    decoder = train_decoder(
        drawn, faces_of(trained, crops), reread=lambda faces: read_again(trained, faces),
        batch_size=batch_size, lr=lr, seed=seed, device=trained.device, precision=precision, folder=folder,
        progress=progress,
    )  # fmt: skip
    kept.save(folder, decoder, drawn)
    (folder / STATE).unlink(missing_ok=True)
    return folder


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
    drawn: kept.Drawn,
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
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: _rate(step, steps * drawn.epochs))
    parts: dict[str, Any] = {"decoder": decoder, "adam": adam, "schedule": schedule}
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
                schedule.step()
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


def _rate(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    return (
        (step + 1) / warm
        if step < warm
        else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
    )


def _restore(folder: Path | None, parts: dict[str, Any], drawn: kept.Drawn) -> int:
    """The epoch to go on from; 0 where nothing was begun, or another decoder was."""
    state = load_state(folder) if folder is not None else None
    if state is None or state["drawn"] != repr(drawn):
        return 0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["epoch"])


def _crops(trained: Checkpoint, faces: Manifest, progress: bool) -> np.ndarray:
    """(N, S, S, 3) uint8 crops of the faces that can be read."""
    from idfer.data.loader import face_batches
    from idfer.data.locate import locate

    placed = locate(faces, trained.preprocess.detector, progress=progress)
    parts = [
        pixels.permute(0, 2, 3, 1).numpy()
        for _, pixels, _ in face_batches(placed.manifest, trained.preprocess, errors=placed.errors)
    ]
    crops = np.concatenate(parts) if parts else np.empty((0, 1, 1, 3), np.uint8)
    if len(crops) < 2:
        raise IdferError(f"fewer than two faces could be read. {placed.hint}".rstrip() + ".")
    return crops


def _identity(trained: Checkpoint) -> tuple[int, int]:
    """Number and width of a run's identity features."""
    side = trained.preprocess.size
    return tuple(read_faces(trained, np.zeros((1, side, side, 3), np.uint8)).identity.shape[1:])  # type: ignore[return-value]


def _largest(trained: Checkpoint) -> int:
    return max(size for size in (16, 32, 64, 128, 256) if size <= max(16, trained.preprocess.size))
