"""Train the `builtin` CLIP on embedded faces and their captions, and write it into the package.

    python scripts/train_builtin_clip.py [--seed 0] [--rounds 14] [--out src/idfer/attributes/builtin]

Every round draws new people, with labels and attributes uncorrelated, and every pass writes new captions. The
loss is CLIP's, except that a caption is paired with *every* image of the batch it is true of (captions say
what they assert); to it comes, for each attribute, the image-to-text cross-entropy among captions that differ
in that attribute's level only.

Seeds: round r's people come from 1_000_000 * (seed + 1) + r; those that fit the temperature and those of the
reported accuracies from 500_000 and 900_000 further on. So people of the seeds that users choose, below a
million, are people the model has never seen.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from idfer.attributes.clip import load_clip, posteriors
from idfer.attributes.table import retrieve
from idfer.attributes.vocabulary import Vocabulary
from idfer.data.manifest import Manifest
from idfer.files import sha256
from idfer.synthetic.captions import Caption, annotate, captions, contrasts, levels, truth
from idfer.synthetic.factors import Factors, level, sample
from idfer.synthetic.render import render

SIZE = 64
CONTEXT = 32
VISION = {"image_size": SIZE, "timm_model_name": "test_byobnet"}  # 0.2 M weights; squeeze and excite, ReLU
WEIGHTS, CONFIG, MERGES = "open_clip_model.safetensors", "open_clip_config.json", "merges.txt.gz"
# The lineage's levels in the order of ours, to score its preset against the same ground truth.
LINEAGE = {"gender": {"women": "feminine", "men": "masculine"},
           "age": {"young": "young", "middle-age": "middle-aged", "old": "older"},
           "skin": {"white": "light", "yellow": "medium", "black": "dark"}}  # fmt: skip


def main() -> None:
    options = _options()
    started = time.perf_counter()
    torch.manual_seed(options.seed)
    first = 1_000_000 * (options.seed + 1)
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        describe(build, seed=first)
        model = open_clip.create_model(f"local-dir:{build}", load_weights=False)
        train(model, options, first, _tokenizer(build))
        save(model, build)
        fit_temperature(model, build, seed=first + 500_000)
        save(model, build)
        metrics = {
            "command": f"python scripts/train_builtin_clip.py --seed {options.seed} "
            f"--rounds {options.rounds} --people {options.people} --passes {options.passes}",
            "seed": options.seed,
            "parameters": sum(p.numel() for p in model.parameters()),
            "training_images": options.rounds * options.people,
            **evaluate(build, seed=first + 900_000),
        }
        print(json.dumps(metrics, indent=2))
        install(build, options.out, metrics)
    print(f"{options.out}: written after {(time.perf_counter() - started) / 60:.1f} minutes")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the builtin CLIP on embedded faces.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=14, help="times that new people are drawn")
    parser.add_argument("--people", type=int, default=3000, help="people per round, one image each")
    parser.add_argument(
        "--passes", type=int, default=4, help="passes over a round's images, new captions each"
    )
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--captions", type=int, default=48, help="images of a batch whose captions are used")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--out", type=Path, default=Path("src/idfer/attributes/builtin"))
    return parser.parse_args()


def describe(folder: Path, seed: int) -> None:
    """Write the configuration, and byte-pair merges that make every word of the captions one token."""
    texts = captions(sample(5000, 1, seed=seed))
    for preset in ("default", "lineage"):
        vocabulary = Vocabulary.load(preset)
        texts += [p for a in vocabulary.attributes.values() for k in a.levels for p in a.prompts(k)]
    merges = learn_merges(texts)
    lines = "\n".join(["#version: idfer"] + [" ".join(pair) for pair in merges])
    (folder / MERGES).write_bytes(gzip.compress(lines.encode(), mtime=0))
    text = {"context_length": CONTEXT, "vocab_size": 2 * 256 + len(merges) + 2,
            "tokenizer_kwargs": {"bpe_path": MERGES}, "width": 64, "heads": 4, "layers": 2}  # fmt: skip
    preprocess = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD,
                  "interpolation": "bicubic", "resize_mode": "shortest"}  # fmt: skip
    config = {
        "model_cfg": {"embed_dim": 64, "vision_cfg": VISION, "text_cfg": text},
        "preprocess_cfg": preprocess,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def learn_merges(texts: list[str]) -> list[tuple[str, str]]:
    """Byte-pair encoding (Sennrich et al. 2016), on until each word is one token."""
    counts = Counter(w for text in texts for w in re.findall(r"'s|[a-z]+|[^\sa-z]+", text.lower()))
    words = {(*word[:-1], word[-1] + "</w>"): count for word, count in counts.items()}
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        words = {_merge(word, best): count for word, count in words.items()}


def _merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for part in word:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return tuple(merged)


def _tokenizer(folder: Path) -> open_clip.tokenizer.SimpleTokenizer:
    return open_clip.get_tokenizer(f"local-dir:{folder}", bpe_path=str(folder / MERGES))


def train(model: torch.nn.Module, options: argparse.Namespace, first: int, tokenizer) -> None:
    model.visual.to(memory_format=torch.channels_last)  # half as fast again on a CPU
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.98))
    steps = options.rounds * options.passes * (options.people // options.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.lr, total_steps=steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(options.seed)
    for number in range(options.rounds):
        begun = time.perf_counter()
        people = sample(options.people, 1, seed=first + number)
        images = render(people, SIZE)
        rendered = time.perf_counter() - begun
        losses = []
        model.train()
        for sweep in range(options.passes):
            written = annotate(people, first + options.passes * number + sweep)
            order = torch.randperm(len(people), generator=generator)
            for rows in order.split(options.batch_size):
                if len(rows) < options.batch_size:
                    continue
                faces = people.rows(rows)
                groups = contrasts(schedule.last_epoch)
                # Prompts repeat: each text is encoded once and has one column, whoever it was written for.
                pool = {caption.text: caption for group in groups.values() for caption in group}
                pool |= {written[row].text: written[row] for row in rows[: options.captions]}
                x = normalise(model, augment(images[rows], generator))
                logits = model.logit_scale.exp() * (
                    model.encode_image(x, normalize=True)
                    @ model.encode_text(tokenizer(list(pool)), normalize=True).T
                )
                true = truth(list(pool.values()), faces)
                column = {text: at for at, text in enumerate(pool)}
                loss = multi_positive(logits, true) + contrast(logits, column, groups, faces)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                with torch.no_grad():
                    model.logit_scale.clamp_(0, np.log(100))
                losses.append(loss.item())
        print(f"round {number + 1}/{options.rounds}: loss {np.mean(losses):.3f}, scale "
              f"{model.logit_scale.exp().item():.1f}, rendered in {rendered:.0f} s, trained in "
              f"{time.perf_counter() - begun - rendered:.0f} s", flush=True)  # fmt: skip


def multi_positive(logits: Tensor, true: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy with targets uniform on all true pairs; (N, C) logits and bool."""
    target = true.to(logits.dtype)
    by_image = F.cross_entropy(logits, target / target.sum(1, keepdim=True))
    some = true.any(0)  # a contrast may be true of no face of the batch
    by_text = F.cross_entropy(logits.T[some], target.T[some] / target.T[some].sum(1, keepdim=True))
    return (by_image + by_text) / 2


def contrast(
    logits: Tensor, column: dict[str, int], groups: dict[str, list[Caption]], faces: Factors
) -> Tensor:
    """Cross-entropy from image to text among captions that differ in one level, summed over attributes."""
    known = levels(faces)
    losses = []
    for name, group in groups.items():
        values = [caption.asserted[name] for caption in group]
        answer = torch.tensor(
            [values.index(v) if v in values else -100 for v in known[name]]
        )  # -100: ignored
        losses.append(F.cross_entropy(logits[:, [column[caption.text] for caption in group]], answer))
    return torch.stack(losses).sum()


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of them, move all a little, and blow a third of the batches up from fewer pixels."""
    flip = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)
    dx, dy = torch.randint(0, 5, (2,), generator=generator).tolist()
    images = F.pad(images.float(), (2, 2, 2, 2), mode="replicate")[:, :, dy : dy + SIZE, dx : dx + SIZE]
    if torch.rand((), generator=generator) < 0.33:
        side = int(torch.randint(32, SIZE, (), generator=generator))
        small = F.interpolate(images, (side, side), mode="area")
        images = F.interpolate(small, (SIZE, SIZE), mode="bicubic", align_corners=False).clamp(0, 255)
    return images


def normalise(model: torch.nn.Module, images: Tensor) -> Tensor:
    config = model.visual.preprocess_cfg
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def save(model: torch.nn.Module, folder: Path) -> None:
    # The temperature stays float32: it is one number, and posteriors depend on it.
    halves = {
        k: v if k == "logit_scale" else v.half()
        for k, v in model.state_dict().items()
        if v.is_floating_point()
    }
    whole = {k: v for k, v in model.state_dict().items() if not v.is_floating_point()}
    save_file({k: v.contiguous() for k, v in (halves | whole).items()}, folder / WEIGHTS)


def fit_temperature(model: torch.nn.Module, folder: Path, seed: int) -> None:
    """Set the logit scale so that the default vocabulary's posteriors are calibrated: least mean NLL."""
    faces = sample(1500, 1, seed=seed)
    clip = load_clip(f"local-dir:{folder}", "cpu")
    vocabulary = Vocabulary.load("default")
    images = render(faces, SIZE).permute(0, 2, 3, 1).numpy()
    embedding = np.concatenate([clip.encode_images(part) for part in np.array_split(images, 12)])
    text, sizes = clip.encode_vocabulary(vocabulary), [len(of) for of in vocabulary.levels.values()]
    answers = _answers(faces, vocabulary.levels)

    def nll(scale: float) -> float:
        found = np.split(posteriors(embedding, text, sizes, scale), np.cumsum(sizes)[:-1], axis=1)
        rows = np.arange(len(faces))
        return float(
            np.mean([-np.log(p[rows, a] + 1e-12).mean() for p, a in zip(found, answers, strict=True)])
        )

    best = min(np.geomspace(2, 300, 300), key=nll)
    with torch.no_grad():
        model.logit_scale.fill_(float(np.log(best)))


def _answers(faces: Factors, levels: dict[str, list[str]]) -> list[np.ndarray]:
    """The true level's number, per attribute (N,)."""
    return [np.array([of.index(v) for v in level(name, getattr(faces, name))]) for name, of in levels.items()]


def evaluate(folder: Path, seed: int) -> dict[str, object]:
    """Top-1 accuracy on unseen people, 300 x 4 images, from PNG files through `retrieve` itself."""
    faces = sample(300, 4, seed=seed)
    pictures = folder / "pictures"
    pictures.mkdir()
    for row, image in enumerate(render(faces, SIZE)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(pictures / f"{row}.png")
    frame = pd.DataFrame(
        {"path": [f"{row}.png" for row in range(len(faces))], "valence": 0.0, "arousal": 0.0}
    )
    manifest = Manifest.from_frame(frame, pictures)
    result: dict[str, object] = {"evaluation": {"identities": 300, "per_identity": 4, "seed": seed}}
    for preset, names in (("default", {}), ("lineage", LINEAGE)):
        table = retrieve(manifest, f"local-dir:{folder}", preset, progress=False)
        scores = {}
        for name in ("gender", "age", "skin"):
            top = np.array([names.get(name, {}).get(found, found) for found in table.top(name)])
            right = top == level(name, getattr(faces, name))
            confidence = table.posterior(name).max(axis=1)
            scores[name] = {
                "accuracy": round(float(right.mean()), 4),
                "ece": round(_ece(confidence, right), 4),
            }
        result[preset] = scores
        result["scale"] = table.source["scale"]
    return result


def _ece(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error (Guo et al. 2017), ten equal bins."""
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    parts = [(at == k) for k in range(bins) if (at == k).any()]
    return float(sum(p.mean() * abs(confidence[p].mean() - right[p].mean()) for p in parts))


def install(build: Path, out: Path, metrics: dict[str, object]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    names = (CONFIG, MERGES, WEIGHTS)
    for name in names:
        (out / name).write_bytes((build / name).read_bytes())
    (out / "SHA256").write_text("".join(f"{sha256(out / name)}  {name}\n" for name in names))
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")


if __name__ == "__main__":
    main()
