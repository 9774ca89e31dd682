"""CLIP, as open_clip loads it: unit-length embeddings of images and of prompts, and level posteriors.

Which weights: `builtin` (ships with the package, knows the embedded faces only), `MODEL/TAG` (open_clip's
list, from the Hugging Face Hub on first use), `MODEL/FILE` (a local checkpoint), `hf-hub:ORG/REPO`,
`local-dir:FOLDER` (`open_clip_config.json` and weights).
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.attributes.vocabulary import Vocabulary
from idfer.data.preprocess import Box, Preprocess
from idfer.device import resolve_device
from idfer.errors import IdferError, UsageError, unknown
from idfer.files import hub_offline, offline, sha256

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

BUILTIN = Path(__file__).parent / "builtin"
MARGIN = 0.25
"""Context around a face box that CLIP sees, as a fraction of its longer side on each side [ours]."""

_HUB, _FOLDER = "hf-hub:", "local-dir:"
_CHECKPOINTS = (".safetensors", ".pt", ".pth", ".bin", ".npz")
_TEXT_BATCH = 256
_MOST_PIXELS = 64_000_000


class Clip:
    """A CLIP model ready to encode.

    Preprocessing is the model's own (size, interpolation, mean and std of its configuration): a CLIP fed with
    ImageNet's mean and std still answers, only worse [lineage trap].

    Attributes:
        spec: what it was loaded from, e.g. "ViT-B-16/openai".
        scale: factor on cosines before the softmax over levels: the model's own exp(logit scale), which is
            METHOD's 100 for the CLIP of the lineage [lineage], and a temperature fitted on held-out
            identities for `builtin` [ours].
        dim: E, width of the embeddings.
        device: where it computes.
    """

    def __init__(self, spec: str, model: nn.Module, tokenizer: Any, device: torch.device):
        from open_clip.transform import PreprocessCfg, image_transform_v2

        self.spec = spec
        self._model = model.eval()
        if spec == "builtin":
            # Nothing needs this under `inference_mode`, and on CPUs torch takes 1.6 times as long for texts
            # of a frozen model; but it answers otherwise in the last bit (1e-7), and the very answers of
            # the builtin one are in the trials of every reported benchmark.
            model.requires_grad_(False)
        self._tokenizer = tokenizer
        self.device = device
        config: dict[str, Any] = dict(model.visual.preprocess_cfg)  # type: ignore[union-attr,arg-type]
        self._config = config
        self._transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
        size = config["size"]
        self._crop = Preprocess(max(size) if isinstance(size, (list, tuple)) else size, margin=MARGIN)
        scale = getattr(model, "logit_scale", None)
        self.scale = float(scale.detach().exp()) if scale is not None else 100.0
        self.dim = int(self.encode_texts(["a photo"]).shape[1])

    def preprocess(self, image: np.ndarray, box: Box | None = None) -> Tensor:
        """Turn an image into the model's input, by the model's own resizing and normalisation.

        Args:
            image: (H, W, 3) uint8, RGB.
            box: the face, as x, y, width, height in pixels: CLIP then sees the square around it with `MARGIN`
                of context. None: the image as it is.

        Returns:
            (3, S, S) float32.

        Raises:
            IdferError: the box is empty or outside the image, or the image is so narrow that resizing it
                would make more than `_MOST_PIXELS`.
        """
        from PIL import Image

        height, width = image.shape[:2]
        # most models' own preprocessing resizes the shorter side to S, and crops the longer one only then
        if box is None and self._crop.size**2 * max(height, width) > _MOST_PIXELS * min(height, width):
            raise IdferError(
                f"the image of {width} x {height} pixels is too narrow to be one face; crop it to the face."
            )
        pixels = image if box is None else self._crop.crop(image, box)
        tensor: Tensor = self._transform(Image.fromarray(pixels))
        return tensor

    def encode_images(self, images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Embed images, in one forward pass.

        Args:
            images: B images (H, W, 3) uint8 RGB of any sizes, or one array (B, H, W, 3).

        Returns:
            (B, E) float32, rows of unit length; one image gives (1, E).
        """
        import torch

        if not len(images):
            return np.zeros((0, self.dim), np.float32)
        return self.encode_preprocessed(torch.stack([self.preprocess(image) for image in images]))

    def encode_preprocessed(self, batch: Tensor) -> np.ndarray:
        """Embed images that `preprocess` made, (B, 3, S, S) float32 to (B, E) float32 of unit length."""
        import torch

        with torch.inference_mode():
            embedding = self._model.encode_image(batch.to(self.device), normalize=True)  # type: ignore[operator]
        return _numpy(embedding)

    def encode_for_retrieval(self, batch: Tensor) -> np.ndarray:
        """Embed what `preprocess` made as retrieval keeps it, (B, 3, S, S) float32 to (B, E) float16.

        Data sets and single faces are rounded here alike, so that an image has one answer; the rounding moves
        a cosine by less than 1e-3.

        Raises:
            IdferError: an embedding is not a number.
        """
        return self._numbers(self.encode_preprocessed(batch)).astype(np.float16)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts, (T, E) float32, rows of unit length."""
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), _TEXT_BATCH):
                tokens = self._tokenizer(list(texts[start : start + _TEXT_BATCH])).to(self.device)
                parts.append(_numpy(self._model.encode_text(tokens, normalize=True)))  # type: ignore[operator]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def encode_vocabulary(self, vocabulary: Vocabulary) -> np.ndarray:
        """Embed every level: the mean of its prompts' unit embeddings, normalised again [ours].

        With one template and one word, as in the `lineage` preset, that is the prompt's embedding [lineage].

        Returns:
            (K, E) float32, the levels of all attributes side by side, rows of unit length.

        Raises:
            IdferError: the tokenizer gives two levels the same tokens, because prompts are too long for this
                model or its tokenizer's files are not complete; or an embedding is not a number.
        """
        rows = []
        for attribute in vocabulary.attributes.values():
            self._check_told_apart(attribute.prompts(level) for level in attribute.levels)
            for level in attribute.levels:
                mean = self.encode_texts(attribute.prompts(level)).mean(axis=0)
                rows.append(mean / np.linalg.norm(mean))
        return self._numbers(np.stack(rows).astype(np.float32))

    def _numbers(self, embedding: np.ndarray) -> np.ndarray:
        """An embedding as it is, if it holds numbers only."""
        if not np.isfinite(embedding).all():
            raise IdferError(
                f"{self.spec}: its embeddings are not numbers, so its weights may be damaged; get them again."
            )
        return embedding

    def _check_told_apart(self, levels: Iterator[list[str]]) -> None:
        """Refuse a tokenizer that cuts the level's word off, or knows no words at all."""
        seen: dict[tuple[int, ...], tuple[int, str]] = {}
        for number, prompts in enumerate(levels):
            for prompt, row in zip(prompts, self._tokenizer(prompts).tolist(), strict=True):
                other, text = seen.setdefault(tuple(row), (number, prompt))
                if other != number:
                    raise IdferError(
                        f"{self.spec}: its tokenizer does not tell {text!r} from {prompt!r}; use prompts "
                        f"that differ within its {len(row)} tokens, or check the model's tokenizer files."
                    )

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of everything that decides an image's embedding: weights and preprocessing."""
        import torch

        setting = {"preprocess": self._config, "margin": MARGIN, "version": 1}
        digest = hashlib.sha256(json.dumps(setting, sort_keys=True, default=list).encode())
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(raw.numpy())
        return digest.hexdigest()[:16]


def posteriors(embedding: np.ndarray, text: np.ndarray, levels: Sequence[int], scale: float) -> np.ndarray:
    """Level posteriors p[a, k](x) = softmax_k(scale <e(x), t[a, k]>), METHOD section 2 [lineage].

    Args:
        embedding: (N, E), unit length.
        text: (K, E), unit length, the levels of all attributes side by side.
        levels: number of levels of each attribute, summing to K.
        scale: 1 / temperature.

    Returns:
        (N, K) float32, each attribute's part summing to one; NaN where the embedding is.
    """
    logits = scale * (embedding.astype(np.float64) @ text.astype(np.float64).T)
    parts = []
    for part in np.split(logits, np.cumsum(levels)[:-1], axis=1):
        power = np.exp(part - part.max(axis=1, keepdims=True))
        parts.append(power / power.sum(axis=1, keepdims=True))
    return np.concatenate(parts, axis=1).astype(np.float32)


def load_clip(spec: str = "builtin", device: str = "auto") -> Clip:
    """Load a CLIP model by its specification (see the top of this module).

    Weights are read without unpickling code: safetensors, or `torch.load(weights_only=True)`.

    Args:
        spec: `builtin`, `MODEL/TAG`, `MODEL/FILE`, `hf-hub:ORG/REPO` or `local-dir:FOLDER`.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        UsageError: an unknown model or tag, or no weights named.
        IdferError: weights are missing, damaged, do not fit the model, or cannot be downloaded.
    """
    source = _source(spec)
    where = resolve_device(device)
    model, tokenizer = _load(source, where)
    return Clip(spec, model, tokenizer, where)


@dataclass(frozen=True)
class _Source:
    """What open_clip is asked for."""

    spec: str
    model: str
    pretrained: str | None = None
    folder: Path | None = None
    hub: bool = False
    quick_gelu: bool = False


def _source(spec: str) -> _Source:
    """Resolve a specification, with every mistake found before weights are read or downloaded."""
    if spec == "builtin":
        _check_builtin(BUILTIN)
        return _Source(spec, f"{_FOLDER}{BUILTIN}", folder=BUILTIN)
    if spec.startswith(_FOLDER):
        folder = Path(spec.removeprefix(_FOLDER)).expanduser()
        _check_folder(folder)
        return _Source(spec, f"{_FOLDER}{folder}", folder=folder)
    if spec.startswith(_HUB):
        if not spec.removeprefix(_HUB).strip("/"):
            raise UsageError(f"{spec!r} names no repository; write hf-hub:ORGANISATION/REPOSITORY.")
        return _Source(spec, spec, hub=True)
    return _listed(spec)


def _listed(spec: str) -> _Source:
    """`MODEL/TAG` or `MODEL/FILE`, where MODEL is one of open_clip's architectures."""
    import open_clip

    name, _, weights = spec.partition("/")
    if name not in open_clip.list_models():
        hint = "Or use builtin, hf-hub:ORG/REPO or local-dir:FOLDER."
        raise unknown("CLIP model", name, open_clip.list_models(), hint)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if not weights:
        example = f"{name}/{tags[0]}" if tags else f"{name}/weights.safetensors"
        raise UsageError(f"{spec!r} names no weights; write MODEL/TAG or MODEL/FILE, e.g. {example}.")
    if open_clip.is_pretrained_cfg(name, weights):
        # OpenAI's weights want QuickGELU; open_clip only warns and then computes something else.
        quick = bool(open_clip.get_pretrained_cfg(name, weights).get("quick_gelu"))
        return _Source(spec, name, weights, hub=True, quick_gelu=quick)
    file = Path(weights).expanduser()
    if file.is_file():
        return _Source(spec, name, str(file))
    if file.suffix in _CHECKPOINTS or "/" in weights:
        raise IdferError(f"{file}: no such checkpoint; check the path in {spec!r}.")
    raise unknown(f"weights of {name}", weights, tags, "Or give the path of a checkpoint file.")


def _check_folder(folder: Path) -> None:
    """A `local-dir:` needs a configuration and weights; without weights open_clip would start at random."""
    if not folder.is_dir():
        raise IdferError(f"{folder}: no such folder; give one with open_clip_config.json and weights.")
    config = folder / "open_clip_config.json"
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise IdferError(f"{config}: no such file; put the model's open_clip configuration there.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise IdferError(f"{config}: cannot be read as JSON ({error}); write it again.") from error
    if not isinstance(content, dict) or "model_cfg" not in content:
        raise IdferError(f"{config}: has no 'model_cfg'; wrap the model's configuration in that key.")
    if not any(file.suffix in (".safetensors", ".bin", ".pth") for file in folder.iterdir()):
        raise IdferError(f"{folder}: holds no weights; put open_clip_model.safetensors there.")


def _check_builtin(folder: Path) -> None:
    """Compare the shipped files with their checksums: damaged weights would answer, and wrongly."""
    try:
        listed = (folder / "SHA256").read_text(encoding="ascii").split()
        for checksum, name in zip(listed[::2], listed[1::2], strict=True):
            if sha256(folder / name) != checksum:
                raise IdferError(
                    f"{folder / name}: its checksum differs, so the builtin CLIP is damaged or was changed; "
                    "install idfer again."
                )
    except (OSError, ValueError) as error:
        reason = f"the builtin CLIP is not complete ({error}); install idfer again."
        raise IdferError(f"{folder}: {reason}") from error


def _load(source: _Source, device: torch.device) -> tuple[nn.Module, Any]:
    """Ask open_clip; from the hub first what is cached, then, unless offline, a download."""
    if not source.hub:
        return _create(source, device)
    try:
        with hub_offline(True):
            return _create(source, device)
    except IdferError as error:
        # A damaged cache is not cured by going online: only what is absent is downloaded.
        if not _absent(error):
            raise
    if offline():
        raise IdferError(
            f"{source.spec}: not in the Hugging Face cache, and downloads are off (IDFER_OFFLINE or "
            "HF_HUB_OFFLINE); unset it once to download, or use builtin or a local checkpoint."
        )
    print(f"idfer: downloading {source.spec} from the Hugging Face Hub", file=sys.stderr)
    try:
        return _create(source, device)
    except IdferError as error:
        if not _absent(error):
            raise
        raise IdferError(
            f"{source.spec}: cannot be downloaded ({_reason(error.__cause__)}); check the name, the "
            "connection and the free disk space, or give a local checkpoint as MODEL/FILE."
        ) from error


def _create(source: _Source, device: torch.device) -> tuple[nn.Module, Any]:
    """One call of open_clip, with its many exceptions made one line."""
    import open_clip

    options: dict[str, Any] = {}
    try:
        if source.folder is not None and (merges := _own_merges(source.folder)):
            options["bpe_path"] = str(merges)
        with _quiet():
            model = open_clip.create_model(
                source.model, source.pretrained, device=device, require_pretrained=True,
                force_quick_gelu=source.quick_gelu, weights_only=True,
            )  # fmt: skip
            tokenizer = open_clip.get_tokenizer(source.model, **options)
    except Exception as error:  # pickle, safetensors, torch, JSON and the hub raise nearly anything
        weights = source.pretrained if source.pretrained and not source.hub else source.spec
        raise IdferError(
            f"{weights}: cannot be loaded ({_reason(error)}); give weights of this very model as safetensors "
            "or a plain state dict (pickled code is never run)."
        ) from error
    return model, tokenizer


def _own_merges(folder: Path) -> Path | None:
    """A folder's own byte-pair merges, whose path in its configuration is relative to the folder."""
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    name = config["model_cfg"].get("text_cfg", {}).get("tokenizer_kwargs", {}).get("bpe_path")
    return folder / name if name else None


def _absent(error: IdferError) -> bool:
    """Whether the cause is a file that the hub cache does not hold (or the hub does not give)."""
    text = str(error.__cause__)
    return "Failed to download" in text or "Failed initial config" in text or "could not be loaded" in text


def _reason(error: BaseException | None) -> str:
    """The cause in a few words: the last error's first line, without its call for help."""
    text = str(error or "").split("Last error: ")[-1].strip()
    line = (text.splitlines() or [type(error).__name__])[0].rstrip(". :")
    return line if len(line) <= 200 else line[:200] + "..."


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep open_clip and the hub from logging what the raised error already says."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _numpy(embedding: Tensor) -> np.ndarray:
    array: np.ndarray = embedding.float().cpu().numpy()
    return array
