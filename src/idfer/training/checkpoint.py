"""A run on disk: `config.yaml` beside `model.safetensors`; training state in one more safetensors file.

Nothing is pickled, so opening somebody's checkpoint runs none of their code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from idfer.data.images import Preprocess
from idfer.device import resolve_device
from idfer.errors import IdferError, UsageError
from idfer.files import atomic
from idfer.models.network import Network, network_of
from idfer.version import __version__

FORMAT = 1  # raised whenever an older idfer could misread a checkpoint
MODEL, CONFIG, STATE = "model.safetensors", "config.yaml", "state.safetensors"
TEXT = "retrieved.text"  # tensor in MODEL, beside the network's own
SHIPPED = Path(__file__).parent.parent / "models" / "pretrained"


@dataclass(frozen=True)
class Checkpoint:
    """A trained network with all that is needed to use it.

    Attributes:
        network: in eval mode, on the device asked for.
        config: the resolved configuration it was trained with (see `config.yaml`).
        preprocess: the preprocessing contract.
        name: short name for tables and reports.
        path: folder it was read from.
        text: (K, E) text embeddings of the attributes' levels, of a network that reads retrieved ID vectors.
    """

    network: Network
    config: dict[str, Any]
    preprocess: Preprocess
    name: str
    path: Path
    text: np.ndarray | None = None


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
    if not folder.is_dir():
        raise UsageError(
            f"{run}: no such run folder; give one that `idfer fit` wrote, or a shipped model: "
            f"{', '.join(shipped_models()) or 'none in this installation'}."
        )
    config = read_config(folder)
    if not (folder / MODEL).is_file():
        hint = (
            "training has not finished: run the same `idfer fit` command again"
            if (folder / STATE).is_file()
            else "train it again with `idfer fit`"
        )
        raise IdferError(f"{folder / MODEL}: missing; {hint}.")
    preprocess = Preprocess.from_dict(config["preprocess"])
    network = network_of(config, preprocess.size)
    tensors, _ = _read(folder / MODEL)
    text = tensors.pop(TEXT).float().numpy() if TEXT in tensors else None
    try:
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise IdferError(
            f"{folder / MODEL}: does not fit its {CONFIG} ({reason}); "
            "the two files come from different runs or timm versions."
        ) from error
    network.eval().to(resolve_device(device))
    return Checkpoint(network, config, preprocess, folder.name, folder, text)


def read_config(folder: Path) -> dict[str, Any]:
    """Read and check `config.yaml`; raises IdferError for a missing, broken or foreign file."""
    file = folder / CONFIG
    try:
        config: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise IdferError(f"{file}: missing; {folder} is not a run of `idfer fit`.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise IdferError(
            f"{file}: cannot be read ({str(error).splitlines()[0]}); restore or train again."
        ) from error
    config = config if isinstance(config, dict) else {}
    if (version := config.get("format_version")) != FORMAT:
        made = config.get("idfer_version", "unknown")
        raise IdferError(
            f"{file}: checkpoint format {version!r} (written by idfer {made}), this is idfer "
            f"{__version__}, which reads format {FORMAT}; install that version or train again."
        )
    if missing := [k for k in ("preprocess", "backbone", "attributes", "dim") if k not in config]:
        raise IdferError(f"{file}: key {missing[0]!r} is missing; restore the file or train again.")
    return dict(config)


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write `config.yaml`, stamped with format and version."""
    stamped = {"format_version": FORMAT, "idfer_version": __version__, **config}
    with atomic(folder / CONFIG) as temporary:
        temporary.write_text(yaml.safe_dump(stamped, sort_keys=False, allow_unicode=True), encoding="utf-8")


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


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the training state (nested dicts and lists of tensors and plain values), atomically."""
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_pack(state, tensors))
    _write(folder / STATE, tensors, {"tree": tree})


def load_state(folder: Path) -> dict[str, Any] | None:
    """What `save_state` wrote, or None where there is none."""
    if not (folder / STATE).is_file():
        return None
    tensors, metadata = _read(folder / STATE)
    state = _unpack(json.loads(metadata["tree"]), tensors)
    assert isinstance(state, dict)
    return state


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    with atomic(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "pt", **metadata})
        except SafetensorError as error:  # safetensors reports a full disk as its own error
            raise OSError(str(error)) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {k: file.get_tensor(k) for k in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise IdferError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); it is damaged or not a "
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
