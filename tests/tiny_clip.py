"""A CLIP of a few thousand weights, saved in every form that `load_clip` reads."""

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

MEAN, STD = (0.6, 0.5, 0.4), (0.2, 0.25, 0.3)  # neither CLIP's nor ImageNet's
MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def make(folder: Path, seed: int = 0) -> Path:
    """Write `open_clip_config.json` and weights in safetensors into a folder; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": MODEL, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file({k: v.contiguous() for k, v in weights(seed).items()}, folder / "open_clip_model.safetensors")
    return folder


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return open_clip.CLIP(**MODEL).state_dict()
