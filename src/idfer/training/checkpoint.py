"""A run on disk: `config.yaml` beside `model.safetensors`; training state in one more safetensors file.

Nothing is pickled, so opening somebody's checkpoint runs none of their code. A run is checked whole when it
is opened: what `load_checkpoint` returns can be used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from idfer.data.preprocess import Preprocess
from idfer.device import resolve_device
from idfer.errors import IdferError, UsageError
from idfer.files import atomic
from idfer.models.network import Network
from idfer.training.record import CONFIG, Plan, Record
from idfer.types import Outputs

if TYPE_CHECKING:
    from torch import nn

    from idfer.models.network import Head

MODEL, STATE, SEEN = "model.safetensors", "state.safetensors", "seen.safetensors"
TEXT = "retrieved.text"  # tensor in MODEL, beside the network's own
SHIPPED = Path(__file__).parent.parent / "models" / "pretrained"


@dataclass(frozen=True)
class Seen:
    """What a run was trained on, by content (`idfer.data.content`).

    Attributes:
        images: keys of the training images, ascending.
        people: keys of the training people who have a name, ascending.
    """

    images: NDArray[np.int64]
    people: NDArray[np.int64]


@dataclass(frozen=True)
class Checkpoint:
    """A trained network with all that is needed to use it: idfer's own `idfer.types.FaceModel`.

    Attributes:
        network: in eval mode, on the device asked for.
        record: what it was trained with (see `config.yaml`).
        name: short name for tables and reports.
        path: folder it was read from.
        text: (K, E) text embeddings of the attributes' levels, of a network that reads retrieved ID vectors.
        seen: what it was trained on; None where the run does not say.
    """

    network: Network
    record: Record
    name: str
    path: Path
    text: np.ndarray | None = None
    seen: Seen | None = field(default=None, repr=False)

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing contract."""
        return self.record.preprocess

    @property
    def attributes(self) -> tuple[str, ...]:
        """Identity attributes that can be detached and attached."""
        return self.network.attributes

    @cached_property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def shipped(self) -> bool:
        """Whether it comes with idfer; `idfer.training.shipped` says what it is fit for."""
        return self.path.parent == SHIPPED

    def predict(
        self,
        crops: NDArray[np.uint8],
        strength: Mapping[str, float] | Sequence[str] | None = None,
        *,
        retrieved: NDArray[np.float32] | None = None,
        attach: Tensor | None = None,
    ) -> Outputs:
        """Predict B crops, as `FaceModel.predict`.

        Args:
            crops: (B, S, S, 3) uint8, RGB.
            strength: as `Network.strength` takes it; None detaches every attribute.
            retrieved: (B, A, E) ID vectors, for residual forms that read them.
            attach: (B or 1, A, D or 3) what other faces give (see `Network.attachable`).

        Returns:
            Predictions and the features "expression" (its mean, with an information budget) and "backbone".
        """
        from idfer.objectives.budget import rate

        with torch.inference_mode():
            prediction = self.network(
                self.inputs(crops), strength, retrieved=self._tensor(retrieved), attach=attach, sample=False
            )
            nats = spread = None
            if prediction.log_variance is not None:
                log_variance = prediction.log_variance.double()
                nats = rate(prediction.mean.double(), log_variance).cpu().numpy()
                spread = (0.5 * log_variance).exp().cpu().numpy()
            features = {"expression": prediction.mean, "backbone": prediction.backbone}
            return Outputs(
                prediction.valence_arousal.double().cpu().numpy(),
                {name: feature.float().cpu().numpy() for name, feature in features.items()},
                nats,
                spread,
            )

    def read_out(self, expression: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """(B, 2) valence and arousal that the head reads from expression features (B, D), all detached.

        Give draws of a sampled feature for the predictions that its certificate speaks of.
        """
        with torch.inference_mode():
            given = torch.from_numpy(np.asarray(expression, np.float32)).to(self.device)
            return self.network.head(given).clamp(-1.0, 1.0).double().cpu().numpy()  # type: ignore[no-any-return]

    def identity(self, crops: NDArray[np.uint8], retrieved: NDArray[np.float32] | None = None) -> Tensor:
        """(B, A, D or 3) what detaching takes from these faces, to attach to others; see `predict`."""
        with torch.inference_mode():
            return self.network.attachable(self.inputs(crops), self._tensor(retrieved))

    def inputs(self, crops: NDArray[np.uint8]) -> Tensor:
        """(B, 3, S, S) float, normalised, on the network's device."""
        pixels = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2)
        return self.preprocess.normalise(pixels.to(self.device))

    def untrained_backbone(self, seed: int) -> nn.Module:
        """The network's backbone with fresh random weights, in eval mode, on its device: a control."""
        from idfer.models.backbone import create_backbone

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            backbone = create_backbone(self.record.settings.backbone, self.preprocess.size)
        return backbone.eval().to(self.device)

    def _tensor(self, retrieved: NDArray[np.float32] | None) -> Tensor | None:
        return None if retrieved is None else torch.from_numpy(retrieved).to(self.device)


def shipped_models() -> list[str]:
    """Names of the models that come with idfer."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{CONFIG}"))


def load_checkpoint(run: str | Path, device: str = "cpu") -> Checkpoint:
    """Open a run folder, or a shipped model by name ("synthetic-tiny").

    Raises:
        UsageError: no such folder or name.
        IdferError: a file is missing, broken, or of another format version.
    """
    folder = SHIPPED / str(run) if str(run) in shipped_models() else Path(run)
    try:
        exists = bool(str(run)) and folder.is_dir()
    except (OSError, ValueError):  # longer than the system allows, or a null character
        exists = False
    if not exists:
        raise UsageError(
            f"{run}: no such run folder; give one that `idfer fit` wrote, or a shipped model: "
            f"{', '.join(shipped_models()) or 'none in this installation'}."
        )
    record = Record.read(folder)
    if not (folder / MODEL).is_file():
        hint = (
            "training has not finished: run the same `idfer fit` command again"
            if (folder / STATE).is_file()
            else "train it again with `idfer fit`"
        )
        raise IdferError(f"{folder / MODEL}: missing; {hint}.")
    tensors, _ = read_tensors(folder / MODEL)
    text = tensors.pop(TEXT).float().numpy() if TEXT in tensors else None
    network = _with_parameters(folder, record, tensors)
    _check_text(folder, record, network, text)
    network.eval().to(resolve_device(device))
    return Checkpoint(network, record, folder.name, folder, text, load_seen(folder))


def new_network(plan: Plan, size: int, pretrained: bool | str = False) -> Network:
    """The network that a plan describes, with input side `size` in pixels."""
    chosen = plan.settings
    return Network(
        chosen.backbone, size, plan.attributes, chosen.dim, pretrained,
        form=chosen.form, embedding=plan.embedding, code=chosen.code,
        head=cast("Head", chosen.head),
        levels=[len(plan.levels[a]) for a in plan.attributes] if chosen.attachment == "evidence" else (),
        mirror=chosen.mirror, dropout=chosen.dropout,
    )  # fmt: skip


def _with_parameters(folder: Path, record: Record, tensors: dict[str, Tensor]) -> Network:
    """The record's network with the parameters of its file."""
    try:
        network = new_network(record, record.preprocess.size)
    except UsageError as error:
        raise IdferError(f"{folder / CONFIG}: {error} Restore the file or train again.") from error
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:160]
        raise IdferError(f"{folder / CONFIG}: describes no network that can be built ({reason}).") from error
    try:
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise IdferError(
            f"{folder / MODEL}: does not fit its {CONFIG} ({reason}); "
            "the two files come from different runs or timm versions."
        ) from error
    return network


def not_finite(network: Network) -> str:
    """The name of a parameter or statistic that holds NaN or infinity; "" where there is none."""
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return name
    return ""


def _check_text(folder: Path, record: Record, network: Network, text: np.ndarray | None) -> None:
    """A network that reads ID vectors has the text embeddings they are made of."""
    if not network.residual.needs_retrieved:
        return
    wanted = (sum(len(record.levels[name]) for name in network.attributes), record.embedding)
    if text is None or text.shape != wanted:
        shape = "none" if text is None else str(text.shape)
        raise IdferError(
            f"{folder / MODEL}: its residual form {network.residual.form!r} reads text embeddings {wanted}, "
            f"and the file holds {shape}; restore it or train again."
        )


def save_model(folder: Path, network: Network, half: bool = False, text: np.ndarray | None = None) -> None:
    """Write `model.safetensors`.

    Args:
        folder: the run.
        network: its network.
        half: store floats in 16 bits (for shipping, not for resuming).
        text: (K, E) text embeddings of the attributes' levels, for a network that reads retrieved ID vectors.
    """
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    if text is not None:
        tensors[TEXT] = torch.from_numpy(np.array(text, np.float32))
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    _write(folder / MODEL, tensors, {})


def save_seen(folder: Path, seen: Seen) -> None:
    """Write what a run was trained on, by content."""
    tensors = {"images": torch.from_numpy(seen.images), "people": torch.from_numpy(seen.people)}
    _write(folder / SEEN, tensors, {})


def load_seen(folder: Path) -> Seen | None:
    """What `save_seen` wrote; None where the run does not say.

    Raises:
        IdferError: the file is damaged.
    """
    if not (folder / SEEN).is_file():
        return None
    tensors, _ = read_tensors(folder / SEEN)
    kept = [tensors.get(name) for name in ("images", "people")]
    if not all(isinstance(t, Tensor) and t.dtype == torch.int64 and t.ndim == 1 for t in kept):
        raise IdferError(f"{folder / SEEN}: is damaged; delete it (rows trained on are then not recognised).")
    return Seen(*(np.sort(t.numpy()) for t in kept if t is not None))


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the training state (nested dicts and lists of tensors and plain values), atomically."""
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_pack(state, tensors))
    _write(folder / STATE, tensors, {"tree": tree})


def load_state(folder: Path) -> dict[str, Any] | None:
    """What `save_state` wrote, or None where there is none.

    Raises:
        IdferError: the file is damaged.
    """
    if not (folder / STATE).is_file():
        return None
    tensors, metadata = read_tensors(folder / STATE)
    try:
        state = _unpack(json.loads(metadata["tree"]), tensors)
        if not isinstance(state, dict):
            raise TypeError("no mapping")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged_state(folder, error) from error
    return state


def damaged_state(folder: Path, error: Exception) -> IdferError:
    """The error for a training state that cannot be taken up."""
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return IdferError(
        f"{folder / STATE}: is damaged or of another run ({reason}); delete it, and the same command trains "
        "from the start."
    )


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    with atomic(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "pt", **metadata})
        except SafetensorError as error:  # safetensors reports a full disk as its own error
            raise OSError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        IdferError: it cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {k: file.get_tensor(k) for k in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:  # a damaged header makes safetensors and torch raise many kinds
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise IdferError(
            f"{path}: cannot be read ({reason}); it is damaged or not a "
            "safetensors file. Restore it or train again."
        ) from error


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON tree of a nested value; tensors go to `tensors` and leave their number."""
    if isinstance(value, Tensor):
        key = str(len(tensors))
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {"tensor": key}
    if isinstance(value, dict):  # pairs, for JSON would turn an optimiser's integer keys into strings
        return {"dict": [[k, _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_pack(v, tensors) for v in value]
    return value


def _unpack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, dict):
        if "tensor" in tree:
            return tensors[tree["tensor"]]
        return {k: _unpack(v, tensors) for k, v in tree["dict"]}
    if isinstance(tree, list):
        return [_unpack(v, tensors) for v in tree]
    return tree
