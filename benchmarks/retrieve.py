"""What `idfer retrieve` costs beside bare open_clip: `python benchmarks/retrieve.py [--faces 400]`.

ViT-B-32 with random weights, written to a file first, so that both sides load a checkpoint as a user's. Bare
open_clip does the same work in the fewest lines: prompts of the same vocabulary, images through the model's
own transform in a DataLoader with as many workers, embeddings, softmax over the levels. Faces are JPEG files
of 256 pixels, each one face. Both end with the table of posteriors in memory; idfer also keys every image by
its content, keeps embeddings in a fresh cache and checks what it loads.

"load included": from nothing. "load excluded": the model is there, with the digest of its weights, which
names the cache and is taken once a process. All is timed in turn in one process; a ratio is bare / idfer of
one round, median, least and most of the rounds: of CPU time, which other work on the machine hardly moves,
and of wall time, which it does. Writes results/retrieve.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open_clip
import pandas as pd
import skimage.data
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset

import idfer
from idfer.attributes.clip import load_clip, posteriors
from idfer.attributes.encode import encode_manifest
from idfer.attributes.vocabulary import Vocabulary
from idfer.data.manifest import Manifest
from side_by_side import Times, ratio, timed

MODEL, BATCH, SIDE = "ViT-B-32", 128, 256


class Images(Dataset[torch.Tensor]):
    """Files through open_clip's own transform."""

    def __init__(self, files: list[Path], transform: Callable[[Any], torch.Tensor]):
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.transform(Image.open(self.files[row]).convert("RGB"))


def bare_load(weights: Path) -> tuple[Any, Any, Any]:
    """Model, transform and tokenizer."""
    model, _, transform = open_clip.create_model_and_transforms(MODEL, str(weights))
    return model.eval(), transform, open_clip.get_tokenizer(MODEL)


@torch.inference_mode()
def bare(loaded: tuple[Any, Any, Any], words: Vocabulary, files: list[Path], workers: int) -> np.ndarray:
    """(N, K) posteriors by open_clip alone."""
    model, transform, tokenizer = loaded
    rows = []
    for attribute in words.attributes.values():
        for level in attribute.levels:
            mean = model.encode_text(tokenizer(attribute.prompts(level)), normalize=True).mean(dim=0)
            rows.append(mean / mean.norm())
    text = torch.stack(rows)
    loader = DataLoader(Images(files, transform), batch_size=BATCH, num_workers=workers)
    embedding = torch.cat([model.encode_image(batch, normalize=True) for batch in loader])
    logits = model.logit_scale.exp() * embedding @ text.T
    sizes = [len(levels) for levels in words.levels.values()]
    found: np.ndarray = torch.cat([part.softmax(dim=1) for part in logits.split(sizes, dim=1)], dim=1).numpy()
    return found


def faces(folder: Path, count: int) -> Manifest:
    """A manifest of made faces."""
    head = cv2.resize(skimage.data.astronaut()[20:220, 140:305], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(0)
    names = [f"{number:05d}.jpg" for number in range(count)]
    for name in names:
        noisy = head * rng.uniform(0.6, 1.2) + rng.normal(0, 3, head.shape)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(folder / name, quality=90)
    table = pd.DataFrame({"path": names, "valence": 0.0, "arousal": 0.0, "detector": "none"})
    return Manifest.from_frame(table, folder)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--faces", default=400, type=int)
    parser.add_argument("--workers", default=2, type=int)
    parser.add_argument("--threads", default=1, type=int, help="of torch")
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--note", default="", help="what else the machine was doing")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    words, load = Vocabulary.load("default"), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = folder / "random.safetensors"
        torch.manual_seed(0)
        save_file({k: v.contiguous() for k, v in open_clip.create_model(MODEL).state_dict().items()}, weights)
        manifest, spec = faces(folder, given.faces), f"{MODEL}/{weights}"
        fresh = iter(range(1 << 20))
        answers: dict[str, np.ndarray] = {}

        def empty_cache() -> None:
            os.environ["IDFER_CACHE"] = str(folder / f"cache{next(fresh)}")

        def ours() -> None:
            empty_cache()
            table = idfer.retrieve(
                manifest, spec, batch_size=BATCH, num_workers=given.workers, device="cpu", progress=False
            )
            answers["idfer"] = table.posteriors

        def alone() -> None:
            answers["bare"] = bare(bare_load(weights), words, manifest.files, given.workers)

        (
            load_clip(spec, "cpu"),
            bare(bare_load(weights), words, manifest.files[:8], given.workers),
        )  # warms up
        whole = timed({"bare": alone, "idfer": ours}, given.rounds)
        difference = float(np.abs(answers["bare"] - answers["idfer"]).max())
        loaded, clip = bare_load(weights), load_clip(spec, "cpu")
        _ = clip.fingerprint

        def ours_loaded() -> None:
            empty_cache()
            text = clip.encode_vocabulary(words)
            embedding, _ = encode_manifest(clip, manifest, BATCH, given.workers, progress=False)
            posteriors(embedding, text, [len(levels) for levels in words.levels.values()], clip.scale)

        there = timed(
            {"bare": lambda: bare(loaded, words, manifest.files, given.workers), "idfer": ours_loaded},
            given.rounds,
        )
    results = {
        "cores": os.cpu_count(), "faces": given.faces, "workers": given.workers, "threads": given.threads,
        "rounds": given.rounds, "note": given.note, "load_before": round(load, 1),
        "largest_difference_of_a_posterior": round(difference, 5),
        "seconds": {
            f"{name}, load {how}": {k: round(statistics.median(getattr(t, k)), 2) for k in Times._fields}
            for how, times in (("included", whole), ("excluded", there)) for name, t in times.items()
        },
        "load_included": ratio(whole["bare"], whole["idfer"]),
        "load_excluded": ratio(there["bare"], there["idfer"]),
    }  # fmt: skip
    target = Path(__file__).parent / "results" / "retrieve.json"
    target.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
