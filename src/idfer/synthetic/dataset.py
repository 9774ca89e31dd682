"""`idfer synth`: embedded faces as a folder of images with a manifest; and counterfactual faces in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from idfer.capacity import free_disk, gibibytes
from idfer.errors import IdferError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from idfer.data.manifest import Manifest
    from idfer.progress import Bar
    from idfer.synthetic.factors import Factors

MANIFEST = "manifest.parquet"
CAPTIONS = "captions.txt"
SHEET = "sheet.png"
IMAGES = "images"
MARK = ".idfer-synth"  # tells our folders from others, also after a kill
_SHEET_PEOPLE = 8
_BATCH = 512  # faces rendered before they are written, and their pixels: bounds the memory
_BATCH_PIXELS = 2**25
_BYTES_PER_PIXEL = 0.5  # of a PNG, at least: 2 in small images, 0.56 at 1024 pixels a side


def synth(
    out: str | Path,
    identities: int = 150,
    per_identity: int = 40,
    size: int = 64,
    correlation: str = "",
    seed: int = 0,
    split: str | None = None,
    cross: bool = False,
    progress: bool = True,
) -> Manifest:
    """Draw embedded faces with known identity and expression.

    Writes OUT/images/SPLIT/SUBJECT/NNNN.png, OUT/manifest.parquet with every factor and the landmarks (eyes,
    nose, mouth), OUT/captions.txt and a contact sheet OUT/sheet.png. The same arguments give the same pixels.

    With `--cross true` every person shows the same `per_identity` expressions in the same photographs, so
    that `idfer evaluate` can tell what a model reads from the person: 100 people of 20 images are enough, of
    another seed than the people trained on.

    Args:
        out: folder to write; new, empty, or made by `idfer synth` before, whose files are then replaced.
        identities: number of people.
        per_identity: images per person.
        size: image side in pixels, 16 to 1024.
        correlation: label-attribute correlation, e.g. age:valence=-0.7,gender:arousal=0.7; empty for none.
            Factors: gender, age, skin, or another that is drawn for itself, e.g. glasses, hair_colour,
            hair_volume, mouth_curve; labels: valence, arousal.
        seed: another seed draws other people; the same seed draws the same people whatever the correlation.
        split: name of the split in the manifest; `train` by default, `cross` for a cross.
        cross: a full cross of people and expressions, whose labels are independent of people (see
            `idfer.synthetic.cross`); takes no correlation.
        progress: show a progress bar.

    Returns:
        The manifest that was written.

    Raises:
        UsageError: a size, count, seed, split or correlation that cannot be, more faces than memory or disk
            have room for, a correlation or fewer than 2 people and expressions for a cross, or a folder
            holding other files.
        IdferError: a file cannot be written.
    """
    from idfer.synthetic import cross as crosses
    from idfer.synthetic.factors import check_counts, sample
    from idfer.synthetic.render import check_size

    check_size(size)
    check_counts(identities, per_identity)
    _check_folder(Path(out))
    _check_disk(identities * per_identity, size, Path(out))
    if cross and correlation:
        raise UsageError(
            "a cross shows everybody with every expression, so labels and people cannot be "
            "correlated; leave --correlation out, or --cross."
        )
    if cross:
        factors = crosses.cross(identities, per_identity, seed)
    else:
        factors = sample(identities, per_identity, correlation, seed)
    name = split if split is not None else crosses.SPLIT if cross else "train"
    return write_splits({name: factors}, out, size=size, seed=seed, progress=progress)


def write_splits(
    parts: Mapping[str, Factors], out: str | Path, size: int = 64, seed: int = 0, progress: bool = True
) -> Manifest:
    """Write several splits of embedded faces into one folder with one manifest.

    Args:
        parts: split name -> its faces.
        out: as for `synth`.
        size: image side in pixels, 16 to 1024.
        seed: chooses the wording of the captions; the faces are given.
        progress: show a progress bar.

    Returns:
        The manifest, splits in the order given. A person has one subject name (`sCOHORT-IDENTITY`) in every
        split.

    Raises:
        UsageError: no split, a name that is none, a bad size, or a folder holding other files.
        IdferError: a person in `train` and in another split (IDF001), or a file cannot be written.
    """
    import pandas as pd

    from idfer.data.landmarks import COLUMN, written
    from idfer.data.manifest import Manifest
    from idfer.files import atomic
    from idfer.progress import bar
    from idfer.synthetic.captions import captions
    from idfer.synthetic.factors import Factors
    from idfer.synthetic.landmarks import landmarks
    from idfer.synthetic.render import check_size, render

    root = Path(out)
    check_size(size)
    _check_splits(parts)
    _check_folder(root)
    everyone = Factors.concat(list(parts.values()))
    table = pd.concat([_table(faces, name) for name, faces in parts.items()], ignore_index=True)
    table["caption"] = captions(everyone, seed)
    table[COLUMN] = written(landmarks(everyone, size))
    manifest = Manifest.from_frame(table, root, name=str(root / MANIFEST))  # refuses before anything is drawn
    _prepare(manifest)
    files = manifest.files
    batch = max(1, min(_BATCH, _BATCH_PIXELS // size**2))
    with bar("drawing faces", len(everyone), progress) as advance, ThreadPoolExecutor(2) as pool:
        writing: list[Future[None]] = []
        for start in range(0, len(everyone), batch):
            chosen = slice(start, start + batch)
            pixels = render(everyone.rows(chosen), size).permute(0, 2, 3, 1).numpy()
            _finish(writing, advance)  # the batch before was written while this one was drawn
            writing = [
                pool.submit(_write_png, file, image)
                for file, image in zip(files[chosen], pixels, strict=True)
            ]
        _finish(writing, advance)
    _write_png(root / SHEET, _sheet(everyone))
    with atomic(root / CAPTIONS) as temporary:
        temporary.write_text("\n".join(table["caption"]) + "\n", encoding="utf-8")
    manifest.write(root / MANIFEST)
    return manifest


def counterfactual(
    factors: Factors,
    identity_of: int | Sequence[int] | np.ndarray,
    expression_of: int | Sequence[int] | np.ndarray,
) -> Factors:
    """These identities with those expressions: the ground truth of "what if that person showed this?".

    Args:
        factors: N faces.
        identity_of: row or rows (M,) that give who it is *and* the photograph (nuisance).
        expression_of: row or rows (M,) that give the labels and the action units, taken as they are: the
            personal expressivity of the giver is in them, that of the receiver is not applied again.

    Returns:
        M faces; a single row on either side stands for all rows of the other.

    Raises:
        UsageError: a row that does not exist, or two lists of different lengths.
    """
    import numpy as np

    from idfer.synthetic.factors import EXPRESSION

    person, shown = np.atleast_1d(np.asarray(identity_of)), np.atleast_1d(np.asarray(expression_of))
    for rows in (person, shown):
        if rows.size and not (-len(factors) <= rows.min() and rows.max() < len(factors)):
            raise UsageError(f"row {rows.max()} does not exist; there are {len(factors)} faces.")
    if len(person) != len(shown) and 1 not in (len(person), len(shown)):
        raise UsageError(
            f"{len(person)} identities for {len(shown)} expressions; give as many of both, or one of either."
        )
    person, shown = np.broadcast_arrays(person, shown)
    donor = factors.rows(shown.copy())
    return factors.rows(person.copy()).replace(**{name: getattr(donor, name) for name in EXPRESSION})


def _table(faces: Factors, split: str) -> pd.DataFrame:
    """Manifest rows of one split: contract columns and factors."""
    from idfer.data.manifest import DRAWN

    table = faces.frame()
    cohort, person = faces.cohort.int().tolist(), faces.identity.int().tolist()
    subjects = [f"s{c}-{p:05d}" for c, p in zip(cohort, person, strict=True)]
    table.insert(0, "subject", subjects)
    number = table.groupby("subject").cumcount()
    paths = [f"{IMAGES}/{split}/{s}/{n:04d}.png" for s, n in zip(subjects, number, strict=True)]
    table.insert(0, "path", paths)
    table = table.assign(source=DRAWN, split=split, label_source="synthetic", detector="none", frame=-1)
    return table.assign(valence=faces.valence.numpy(), arousal=faces.arousal.numpy())


def _check_splits(parts: Mapping[str, Factors]) -> None:
    if not parts:
        raise UsageError("no split to write; give at least one, e.g. {'train': sample(150, 40)}.")
    for name in parts:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise UsageError(f"split {name!r} is not a name; use letters, digits, - and _.")


def _check_folder(root: Path) -> None:
    """A folder is written only when it is new, empty or one of ours."""
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file; choose a folder for the images.")
    if root.is_dir() and any(root.iterdir()) and not (root / MARK).is_file():
        raise UsageError(f"{root} holds other files; nothing was changed. Choose a new or empty folder.")


def _check_disk(count: int, size: int, root: Path) -> None:
    """Refuse more images than the disk has room for, before the first is drawn."""
    needed, free = int(count * size**2 * _BYTES_PER_PIXEL), free_disk(root)
    if free is not None and needed > free:
        raise UsageError(
            f"{count:,} images of {size} pixels a side need at least {gibibytes(needed)} of disk, "
            f"{gibibytes(free)} are free at {root}; about {int(free / size**2 / _BYTES_PER_PIXEL):,} fit. "
            "Ask for fewer identities or choose another folder."
        )


def _prepare(manifest: Manifest) -> None:
    """Remove what an earlier run wrote, and nothing else; make the folders."""
    import shutil

    root = manifest.root
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / MARK).write_text("Written by `idfer synth`, which replaces its files here when run again.\n")
        for name in (MANIFEST, CAPTIONS, SHEET):
            (root / name).unlink(missing_ok=True)
        shutil.rmtree(root / IMAGES, ignore_errors=True)
        for folder in {file.parent for file in manifest.files}:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IdferError(
            f"cannot write in {root}: {error.strerror or error}; choose another folder."
        ) from error


def _finish(writing: Sequence[Future[None]], advance: Bar) -> None:
    for written in writing:
        written.result()
    advance(len(writing))


def _write_png(file: Path, image: np.ndarray) -> None:
    """Write one (H, W, 3) RGB uint8 image."""
    import cv2

    _, data = cv2.imencode(".png", image[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 2])
    try:
        file.write_bytes(data.tobytes())
    except OSError as error:
        raise IdferError(
            f"cannot write {file}: {error.strerror or error}. Free some space or choose another folder, and "
            "run the same command again."
        ) from error


def _sheet(faces: Factors) -> np.ndarray:
    """A contact sheet of a few people, from the lightest to the darkest skin: what a user looks at first."""
    import numpy as np

    from idfer.synthetic.sheet import contact_sheet

    people = np.stack([faces.cohort.numpy(), faces.identity.numpy()])
    first = np.unique(people, axis=1, return_index=True)[1]
    by_skin = first[np.argsort(faces.skin.numpy()[first], kind="stable")]
    spread = np.linspace(0, len(by_skin) - 1, min(_SHEET_PEOPLE, len(by_skin))).round().astype(int)
    return contact_sheet(faces.rows(by_skin[spread]))
