"""`fit`: train a method on a manifest, resumable to the bit."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from idfer.catalogue import DEFAULT_METHOD, NETWORK, names_filled_in
from idfer.errors import IdferError, UsageError, unknown
from idfer.files import contents
from idfer.ranges import check_at_least
from idfer.training.holdout import training_split
from idfer.training.record import CONFIG, Plan, Record
from idfer.training.retrieval import aligned, retrieval_record
from idfer.training.settings import Settings
from idfer.training.trackers import check_loggers

if TYPE_CHECKING:
    from idfer.attributes.table import AttributeTable
    from idfer.data.manifest import Manifest


@names_filled_in
def fit(
    manifest: str | Path | Manifest,
    attributes: str | Path | AttributeTable | None = None,
    *,
    method: str = DEFAULT_METHOD,
    backbone: str = Settings.backbone,
    pretrained: bool | str = Settings.pretrained,
    out: str | Path | None = None,
    use: list[str] | str | None = None,
    form: str | None = None,
    retrieval: str | None = None,
    code: int | None = None,
    head: str | None = None,
    attachment: str | None = None,
    terms: dict[str, Any] | None = None,
    epochs: int = Settings.epochs,
    batch_size: int = Settings.batch_size,
    lr: float = Settings.lr,
    min_lr: float = Settings.min_lr,
    weight_decay: float = Settings.weight_decay,
    size: int | None = Settings.size,
    margin: float = Settings.margin,
    detector: str = Settings.detector,
    alignment: str = Settings.alignment,
    dim: int = Settings.dim,
    dropout: float = Settings.dropout,
    augmentation: bool | str = Settings.augmentation,
    ema: float = Settings.ema,
    mirror: bool = Settings.mirror,
    decorrelate: bool | None = None,
    holdout: float = Settings.holdout,
    seed: int = Settings.seed,
    device: str = "auto",
    devices: int = 1,
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
    num_workers: int = 2,
    save_minutes: float = 10.0,
    logger: list[str] | str | None = None,
    progress: bool = True,
) -> Path:
    """Train a valence-arousal model on the `train` split of a manifest.

    Faces are where the manifest places them (`x, y, width, height` or `box`), else where the detector finds
    the largest. The run's preprocessing contract remembers how, so that `evaluate` and `predict` do the same.

    The last step's weights are kept, or with --ema their moving average over all steps: no split chooses
    them. A split named `val` is scored after every epoch for the log only. The same command again goes on
    where an interrupted run stopped, and gives, on one machine's CPU, the same weights bit for bit as an
    uninterrupted run.

    Args:
        manifest: manifest.parquet, or a CSV with columns path, valence, arousal.
        attributes: attributes.parquet of `idfer retrieve`; the method idfer needs it.
        method: {methods}; or module:Class of your own (in Python also the class).
        backbone: any timm model name, e.g. resnet18 or swin_tiny_patch4_window7_224; alexnet, conv4 or conv7.
        pretrained: false, true (published weights, downloaded) or the path of a weight file.
        out: folder of the run; runs/METHOD-HASH by default.
        use: attributes to separate from the expression, e.g. age,skin; all of the table by default.
        form: of the residual modules: {forms} or module:Class; the method's own by default.
        retrieval: ID vectors: {retrievals}. hard is the top level's text embedding; truth the manifest's
            columns factor.NAME in place of CLIP's answers, for ablations; the method's own by default.
        code: width of the sampled expression feature, 0 for no information budget; the method's own by
            default.
        head: of valence and arousal: {heads}; the method's own by default.
        attachment: what attaching an attribute at run time adds: {attachments}. evidence is what it says of
            the label, features its identity feature; the method's own by default.
        terms: settings of the method's objectives, e.g. --terms.beta 0.05; see `Terms` in its file.
        epochs: passes over the training faces.
        batch_size: faces per step.
        lr: peak learning rate of AdamW (cosine schedule, 5 % warm-up).
        min_lr: learning rate at which the schedule stops to fall; 0 lets it end at nothing. Above 0 it goes
            with `ema`, which averages the weights that still move.
        weight_decay: decoupled weight decay of matrices.
        size: input side in pixels; the backbone's own by default.
        margin: context around a face box, as a fraction of its longer side, on each side.
        detector: what finds faces that the manifest does not place: auto (YuNet if at hand, else Haar),
            yunet, haar, the path of a YuNet .onnx file, or none: each image is one whole face already.
        alignment: none: faces are cropped upright; landmarks: turned and scaled so that eyes, nose and mouth
            corners lie on a template, in prediction too. Landmarks come from the manifest's column
            `landmarks`, else from the detector: of a face that overlaps the manifest's box, if it has one.
        dim: width of expression and identity features.
        dropout: share of the backbone's features that each step leaves out, e.g. 0.5: a network that
            must lean on many of them carries further, from rendered faces to smiles of photographs. With
            half or more, some seeds learn nothing for the first epochs (the log's `val_ccc` stays at 0).
        augmentation: true (flip, small shift, rotation and scale, brightness and contrast), false, or strong:
            also tint, light, texture, things in the way, grey, blur, pictures cut off at the face, few
            pixels, grain and JPEG, for a model that is trained on rendered faces and meant for photographs.
        ema: decay of an exponential moving average of the weights, e.g. 0.999, which is then what is scored
            and kept; 0 keeps the last step's weights.
        mirror: in use, not in training, average what the backbone sees in a face and in its mirror image:
            twice its time. It then does not know left from right.
        decorrelate: weigh samples to make labels independent of retrieved attributes; the method's own
            choice by default.
        holdout: share of the people to keep back, e.g. 0.2, where the manifest has no splits.
        seed: of weights, order and augmentation.
        device: auto, cpu, cuda, cuda:N or mps.
        devices: GPUs of this machine (or, to try it, processes on its CPU) that share each batch; what is
            learned is the same but for rounding.
        precision: 32-true, bf16-mixed or 16-mixed.
        num_workers: processes of each device that decode images when they do not fit in memory.
        save_minutes: at least this often, and after every epoch, the training state is saved.
        logger: trackers to log to beside `log.jsonl`: csv, tensorboard or wandb; several by comma.
        progress: show a progress bar.

    Returns:
        The run's folder, with `config.yaml`, `model.safetensors` and `log.jsonl`.

    Raises:
        UsageError: an unknown method, backbone or attribute, a value out of its range, or `out` holds a run
            of other settings, or one whose faces another detector placed.
        IdferError: unusable data, a loss that is not finite, a full disk; what was trained is kept.
    """
    settings = Settings.of(
        method=method, backbone=backbone, pretrained=pretrained, use=use, form=form, retrieval=retrieval,
        code=code, head=head, attachment=attachment, terms=terms, epochs=epochs, batch_size=batch_size, lr=lr,
        min_lr=min_lr, weight_decay=weight_decay, size=size, margin=margin, detector=detector,
        alignment=alignment, dim=dim, dropout=dropout, augmentation=augmentation, ema=ema, mirror=mirror,
        decorrelate=decorrelate, holdout=holdout, seed=seed, precision=precision,
    )  # fmt: skip
    _note_unread(settings, use=use, retrieval=retrieval, attachment=attachment)
    return fit_settings(
        manifest, attributes, settings, out=out, device=device, devices=devices, num_workers=num_workers,
        save_minutes=save_minutes, logger=logger, progress=progress,
    )  # fmt: skip


def fit_settings(
    manifest: str | Path | Manifest,
    attributes: str | Path | AttributeTable | None,
    settings: Settings,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    devices: int = 1,
    num_workers: int = 2,
    save_minutes: float = 10.0,
    logger: list[str] | str | None = None,
    progress: bool = True,
) -> Path:
    """`fit` with its settings resolved: what the trials of benchmarks call. Arguments and errors as there."""
    from idfer.data.content import image_keys, person_keys
    from idfer.data.manifest import Manifest

    loggers = check_loggers(logger)
    check_at_least(devices, 1, "--devices")
    check_at_least(num_workers, 0, "--num_workers")
    check_at_least(save_minutes, 0, "--save_minutes")
    faces = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)
    table = _table(attributes, settings)
    train, validation = training_split(faces, settings)
    retrieved = None if table is None else aligned(table, train, settings.retrieval)
    if retrieved is not None:
        _check_varies(retrieved)
    keys = image_keys(train)
    plan = _plan(settings, train, keys, retrieved, _source(manifest), _source(attributes))
    people = person_keys(train)
    method_name = settings.method.rpartition(":")[2].lower()
    folder = Path(out) if out is not None else Path("runs") / f"{method_name}-{plan.identity[:8]}"
    from idfer.training.checkpoint import SEEN, Seen, save_seen

    seen = Seen(np.unique(keys), np.unique(people[people != 0]))
    if _is_done(folder, plan):
        print(f"{folder}: already trained with these settings.", file=sys.stderr)
        if not (folder / SEEN).is_file():
            save_seen(folder, seen)
        return folder
    if retrieved is not None and retrieved.warning:
        print(f"idfer: {retrieved.warning}", file=sys.stderr)

    from idfer.training.run import run
    from idfer.training.trainer import How

    how = How(device, devices, num_workers, save_minutes * 60, progress, loggers)
    run(plan, train, keys, retrieved, validation, table, seen, folder, how)
    return folder


def _note_unread(settings: Settings, **given: Any) -> None:
    """Say which options about attributes the method does not read: who gives one counts on it.

    No error, since one configuration may serve several methods, and a run's own names all options.
    """
    usual = {**NETWORK, **settings.entry.network}
    for name, value in given.items():
        if value is None or value == usual.get(name):
            continue
        if not settings.needs_attributes:
            why = f"the method {settings.method!r} reads no attributes"
        elif name == "attachment" and not settings.entry.splits:
            why = f"the method {settings.method!r} has no residual modules"
        else:
            continue
        print(f"idfer: --{name} changes nothing: {why}.", file=sys.stderr)


def _table(attributes: str | Path | AttributeTable | None, settings: Settings) -> AttributeTable | None:
    """The attribute table, of the attributes to use, where one is needed."""
    if not settings.needs_attributes:
        return None
    if attributes is None:
        raise UsageError(
            f"method {settings.method!r} with these settings needs retrieved attributes: run `idfer retrieve "
            "MANIFEST -o attributes.parquet` first and give --attributes attributes.parquet."
        )
    from idfer.attributes.table import AttributeTable

    table = attributes if isinstance(attributes, AttributeTable) else AttributeTable.read(attributes)
    for name in settings.use or ():
        if name not in table.levels:
            raise unknown("attribute", name, list(table.levels), "These are the attributes of the table.")
    return table if settings.use is None else table.select(settings.use)


def _plan(
    settings: Settings,
    train: Manifest,
    keys: np.ndarray,
    retrieved: AttributeTable | None,
    manifest: str,
    attributes: str,
) -> Plan:
    """What the run is, with where its data came from by name and by content."""
    from idfer.data.content import content_digest, landmarks_digest

    data: dict[str, Any] = {"manifest": manifest, "rows": len(train)}
    data |= {"drawn": train.drawn, "synthetic": train.synthetic}
    data["content"] = content_digest(train, keys)
    if settings.alignment != "none":  # else nobody looks at them
        data["landmarks"] = landmarks_digest(train)
    if retrieved is None:
        return Plan(settings, (), {}, 0, {}, data)
    posteriors = np.ascontiguousarray(retrieved.posteriors)
    data["attributes"] = attributes
    data["retrieved"] = hashlib.sha256(posteriors.tobytes()).hexdigest()[:16]
    levels = {name: list(names) for name, names in retrieved.levels.items()}
    splits = settings.entry.splits
    embedding = 0 if settings.form == "distilled" or not splits else int(retrieved.text.shape[1])
    return Plan(
        settings, tuple(levels) if splits else (), levels, embedding, retrieval_record(retrieved), data
    )


def _source(given: object) -> str:
    return str(given) if isinstance(given, (str, Path)) else "in memory"


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


def _is_done(folder: Path, plan: Plan) -> bool:
    """Whether `folder` holds this run, trained; False where it holds none, or one that is not finished.

    A damaged model is said and counts as not finished, so that it is trained again.

    Raises:
        UsageError: it holds a run of other settings, or files that are not a run's.
    """
    from idfer.training.checkpoint import MODEL, load_checkpoint, not_finite

    try:
        empty = not folder.exists() or not contents(folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be used ({error.strerror}); choose another -o.") from error
    if empty:
        return False
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{folder} is not empty and not a run; choose another -o.")
    begun = Record.read(folder)
    if begun.settings.detector == "auto" and begun.preprocess.detector == plan.settings.detector:
        # what "auto" was then is now asked for by its name
        begun = replace(begun, settings=replace(begun.settings, detector=plan.settings.detector))
    if difference := plan.difference(begun):
        raise UsageError(
            f"{folder} holds a run of other settings ({difference}); choose another -o or delete it."
        )
    if not (folder / MODEL).is_file():
        return False
    try:
        checkpoint = load_checkpoint(folder)
    except IdferError as error:
        print(f"idfer: {error} It is trained again.", file=sys.stderr)
        return False
    if name := not_finite(checkpoint.network):
        print(f"idfer: {folder / MODEL}: {name} is not finite. It is trained again.", file=sys.stderr)
        return False
    return True
