"""`fit`: train a method on a manifest, resumable to the bit."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from idfer.errors import IdferError, UsageError, unknown
from idfer.files import contents
from idfer.methods.catalogue import METHODS, NETWORK
from idfer.names import split_names
from idfer.training.retrieval import RETRIEVALS, aligned, record

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest


def fit(
    manifest: str | Path | Manifest,
    attributes: str | Path | AttributeTable | None = None,
    *,
    method: str = "idfer",
    backbone: str = "resnet18",
    pretrained: bool | str = False,
    out: str | Path | None = None,
    use: list[str] | str | None = None,
    form: str | None = None,
    retrieval: str | None = None,
    code: int | None = None,
    terms: dict[str, Any] | None = None,
    epochs: int = 20,
    batch_size: int = 128,
    lr: float = 1e-3,
    weight_decay: float = 0.05,
    size: int | None = None,
    margin: float = 0.1,
    dim: int = 128,
    augmentation: bool = True,
    decorrelate: bool | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
    num_workers: int = 2,
    save_minutes: float = 10.0,
    progress: bool = True,
) -> Path:
    """Train a valence-arousal model on the `train` split of a manifest.

    The weights after the last epoch are kept: no split chooses them. A split named `val` is scored after
    every epoch for the log only. The same command again goes on where an interrupted run stopped, and
    gives, on one machine's CPU, the same weights bit for bit as an uninterrupted run.

    Args:
        manifest: manifest.parquet, or a CSV with columns path, valence, arousal.
        attributes: attributes.parquet of `idfer retrieve`; the method idfer needs it.
        method: erm, idfer, lineage, adversarial, hsic, groupdro, caf, avce, elim or dice.
        backbone: any timm model name, e.g. resnet18 or swin_tiny_patch4_window7_224; alexnet or conv4.
        pretrained: false, true (published weights, downloaded) or the path of a weight file.
        out: folder of the run; runs/METHOD-HASH by default.
        use: attributes to separate from the expression, e.g. age,skin; all of the table by default.
        form: of the residual modules: distilled, simple, residual_post or residual_prev; the method's own by
            default.
        retrieval: ID vectors: soft, hard (the top level's text embedding), or truth (the manifest's columns
            factor.NAME in place of CLIP's answers, for ablations); the method's own by default.
        code: width of the sampled expression feature, 0 for no information budget; the method's own by
            default.
        terms: settings of the method's objectives, e.g. --terms.beta 0.05; see `Terms` in its file.
        epochs: passes over the training faces.
        batch_size: faces per step.
        lr: peak learning rate of AdamW (cosine schedule, 5 % warm-up).
        weight_decay: decoupled weight decay of matrices.
        size: input side in pixels; the backbone's own by default.
        margin: context around a face box, as a fraction of its longer side, on each side.
        dim: width of expression and identity features.
        augmentation: flip, small shift, rotation and scale, brightness and contrast.
        decorrelate: weigh samples to make labels independent of retrieved attributes (default: idfer only).
        seed: of weights, order and augmentation.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: 32-true, bf16-mixed or 16-mixed.
        num_workers: processes that decode images when they do not fit in memory.
        save_minutes: at least this often, and after every epoch, the training state is saved.
        progress: show a progress bar.

    Returns:
        The run's folder, with `config.yaml`, `model.safetensors` and `log.jsonl`.

    Raises:
        UsageError: an unknown method, backbone or attribute, or `out` holds a run of other settings.
        IdferError: unusable data, a loss that is not finite, a full disk; what was trained is kept.
    """
    settings = {k: v for k, v in locals().items() if k in _SETTINGS}
    if method not in METHODS:
        raise unknown("method", method, list(METHODS))
    entry = METHODS[method]
    chosen = {"form": form, "retrieval": retrieval, "code": code, "head": None}
    network = {**NETWORK, **entry.network} | {k: v for k, v in chosen.items() if v is not None}
    for name in ("epochs", "batch_size", "dim"):
        if settings[name] < (2 if name == "batch_size" else 1):
            raise UsageError(
                f"--{name} is {settings[name]}; it must be at least {2 if name == 'batch_size' else 1}."
            )
    if network["retrieval"] not in RETRIEVALS:
        raise unknown("retrieval", str(network["retrieval"]), list(RETRIEVALS))
    if network["code"] < 0:
        raise UsageError(f"--code is {network['code']}; give a width, or 0 for no information budget.")
    from idfer.models.forms import FORMS
    from idfer.training.checkpoint import MODEL, STATE, save_model, write_config
    from idfer.training.trainer import Trainer

    if network["form"] not in FORMS:
        raise unknown("residual form", str(network["form"]), list(FORMS))
    if network["form"] != NETWORK["form"] and not entry.splits:
        raise UsageError(f"--form {network['form']}: the method {method!r} has no residual modules.")
    settings["decorrelate"] = entry.weights if decorrelate is None else decorrelate
    settings["retrieval"] = network.pop("retrieval")
    settings["terms"] = {**entry.terms, **(terms or {})}
    needed = entry.attributes or bool(settings["decorrelate"])
    faces, table, levels = _inputs(manifest, attributes, method, needed, split_names(use))
    train = _training_rows(faces)
    own = None if table is None else aligned(table, train, settings["retrieval"])
    if own is not None:
        _check_varies(own)
    network["embedding"] = 0 if table is None or network["form"] == "distilled" else table.text.shape[1]
    config = {"method": method, "attributes": list(levels) if entry.splits else []} | settings
    config |= {"network": network, "levels": levels, "retrieved": {} if own is None else record(own)}
    config |= _provenance(manifest, attributes, train, own)
    folder = Path(out) if out is not None else Path("runs") / f"{method}-{_digest(config)[:8]}"
    if _same_run(folder, config) and (folder / MODEL).is_file():
        print(f"{folder}: already trained with these settings.", file=sys.stderr)
        return folder

    trainer = Trainer(config, device)
    trainer.prepare(train, own, progress)
    write_config(folder, trainer.config)
    validation = faces.select("val") if "val" in faces.splits else None
    read = table if trainer.network.residual.needs_retrieved else None
    beside = None
    if read is not None and validation is not None:
        beside = aligned(read, validation, settings["retrieval"])
    trainer.train(folder, validation, beside, num_workers, save_minutes * 60, progress)
    save_model(folder, trainer.network, text=None if read is None else read.text)
    (folder / STATE).unlink(missing_ok=True)
    return folder


_SETTINGS = (
    "backbone", "pretrained", "epochs", "batch_size", "lr", "weight_decay", "size", "margin", "dim",
    "augmentation", "seed", "precision",
)  # fmt: skip


def _inputs(
    manifest: str | Path | Manifest,
    attributes: str | Path | AttributeTable | None,
    method: str,
    needed: bool,
    use: list[str] | None,
) -> tuple[Manifest, AttributeTable | None, dict[str, list[str]]]:
    """The manifest, the attribute table (where one is needed) and the levels of its attributes."""
    from idfer.data.manifest import Manifest

    faces = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
    if not needed:
        return faces, None, {}
    if attributes is None:
        raise UsageError(
            f"method {method!r} with these settings needs retrieved attributes: run `idfer retrieve "
            "MANIFEST -o attributes.parquet` first and give --attributes attributes.parquet."
        )
    from idfer.attributes.table import AttributeTable

    table = attributes if isinstance(attributes, AttributeTable) else AttributeTable.read(attributes)
    if use is not None:
        for name in use:
            if name not in table.levels:
                raise unknown("attribute", name, list(table.levels), "These are the attributes of the table.")
        table = table.select(use)
    return faces, table, dict(table.levels)


def _check_varies(table: AttributeTable) -> None:
    """Refuse an attribute that says nothing, and name levels that no training face shows."""
    read = table.rows(table.errors == "")
    for name, levels in table.levels.items():
        if not len(read) or float(np.ptp(read.posterior(name), axis=0).max()) < 1e-6:
            raise IdferError(
                f"attribute {name!r} is the same for every training face, so there is nothing to separate; "
                "leave it out of --use."
            )
        if absent := sorted(set(levels) - set(read.top(name))):
            print(f"no training face looks {' or '.join(absent)} ({name}).", file=sys.stderr)


def _training_rows(faces: Manifest) -> Manifest:
    """The `train` split, or everything where the manifest has no splits at all."""
    if faces.splits == [""]:
        return faces
    if "train" not in faces.splits:
        raise IdferError(
            f"the manifest has splits {', '.join(faces.splits)} but none named 'train'; "
            "name the training rows so in its column 'split'."
        )
    return faces.select("train")


def _provenance(
    manifest: object, attributes: object, train: Manifest, table: AttributeTable | None
) -> dict[str, Any]:
    """Where the data came from, by name and by content."""
    import pandas as pd

    rows = pd.util.hash_pandas_object(
        train.frame[["path", "frame", "subject", "valence", "arousal"]], index=False
    )
    data: dict[str, Any] = {
        "manifest": str(manifest) if isinstance(manifest, (str, Path)) else "in memory",
        "rows": len(train),
        "content": hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()[:16],
    }
    if table is not None:
        data["attributes"] = str(attributes) if isinstance(attributes, (str, Path)) else "in memory"
        data["retrieved"] = hashlib.sha256(np.ascontiguousarray(table.posteriors).tobytes()).hexdigest()[:16]
    return {"data": data}


def _digest(config: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


def _same_run(folder: Path, config: dict[str, Any]) -> bool:
    """Whether `folder` holds a run of these settings; False where it holds none.

    Raises:
        UsageError: it holds a run of other settings, or files that are not a run's.
    """
    from idfer.training.checkpoint import CONFIG, read_config

    if not folder.exists() or not contents(folder):
        return False
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{folder} is not empty and not a run; choose another -o.")
    found = read_config(folder)
    wanted = json.loads(json.dumps(config, default=str))
    differ = [k for k in wanted if json.loads(json.dumps(found.get(k), default=str)) != wanted[k]]
    if differ:
        k = differ[0]
        raise UsageError(
            f"{folder} holds a run of other settings ({k}: {found.get(k)!r}, now {wanted[k]!r}); "
            "choose another -o or delete it."
        )
    return True
