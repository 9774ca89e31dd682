"""`idfer synth`: faces as a folder of images with a manifest; and counterfactual faces in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from idfer.capacity import free_disk, gibibytes
from idfer.errors import UsageError
from idfer.synthetic.folder import CAPTIONS, IMAGES, MANIFEST, MARK, SHEET, digest, prepare, write_png

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from idfer.data.manifest import Manifest
    from idfer.progress import Bar
    from idfer.synthetic.engine import Engine
    from idfer.synthetic.factors import Factors

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
    variety: str = "plain",
    engine: str = "drawn",
    assets: Sequence[str] = (),
    samples: int | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Manifest:
    """Draw faces with known identity and expression.

    Writes OUT/images/SPLIT/SUBJECT/NNNN.png, OUT/manifest.parquet with every factor and the landmarks (eyes,
    nose, mouth), OUT/captions.txt and a contact sheet OUT/sheet.png. The same arguments give the same pixels;
    what was interrupted goes on when the same command is run again.

    `--engine mesh` renders heads of three dimensions: `pip install 'idfer[mesh]'`, and asset files that
    `idfer assets` makes once (see docs/mesh.md).

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
        variety: plain (an emotion looks alike on everybody), or wide, nearer to photographs: each emotion in
            one of several ways, a fifth of the faces speaking, heads turned further, people with faces of
            their own at rest, more of them with glasses.
        engine: drawn (thousands of faces a second, no assets) or mesh (a few, nearer to photographs).
        assets: asset files of the mesh engine; with several, each person has the head of one of them.
        samples: paths of light per pixel, mesh engine only, 12 by default: more is slower and less grainy.
        workers: processes that render, mesh engine only; one a core by default, as far as memory goes.
        progress: show a progress bar.

    Returns:
        The manifest that was written.

    Raises:
        UsageError: a size, count, seed, split or correlation that cannot be, more faces than memory or disk
            have room for, a correlation or fewer than 2 people and expressions for a cross, a variety that
            does not exist or a cross of a wide one, a folder holding other files, options of the mesh engine
            without it, or a mesh engine without assets or Mitsuba.
        IdferError: a file cannot be written, or an asset file cannot be used.
    """
    from idfer.synthetic import cross as crosses
    from idfer.synthetic import variety as varieties
    from idfer.synthetic.engine import engine_of
    from idfer.synthetic.factors import check_counts, sample

    varieties.check(variety)
    drawing = engine_of(engine, assets, samples, workers)
    drawing.check(size)
    check_counts(identities, per_identity)
    _check_folder(Path(out))
    _check_disk(identities * per_identity, size, Path(out))
    if cross and correlation:
        raise UsageError(
            "a cross shows everybody with every expression, so labels and people cannot be "
            "correlated; leave --correlation out, or --cross."
        )
    if cross and variety != varieties.PLAIN:
        raise UsageError(
            f"a cross shows the same expressions on everybody; leave --variety {variety} out, or --cross."
        )
    if cross:
        factors = crosses.cross(identities, per_identity, seed)
    else:
        factors = sample(identities, per_identity, correlation, seed, variety=variety)
    name = split if split is not None else crosses.SPLIT if cross else "train"
    return write_splits({name: factors}, out, size=size, seed=seed, progress=progress, engine=drawing)


def write_splits(
    parts: Mapping[str, Factors],
    out: str | Path,
    size: int = 64,
    seed: int = 0,
    progress: bool = True,
    engine: Engine | None = None,
) -> Manifest:
    """Write several splits of embedded faces into one folder with one manifest.

    Args:
        parts: split name -> its faces.
        out: as for `synth`.
        size: image side in pixels, 16 to 1024.
        seed: chooses the wording of the captions; the faces are given.
        progress: show a progress bar.
        engine: what draws them; the drawn engine by default.

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
    from idfer.synthetic.engine import Drawn
    from idfer.synthetic.factors import Factors

    root, drawing = Path(out), engine or Drawn()
    drawing.check(size)
    _check_splits(parts)
    _check_folder(root)
    everyone = Factors.concat(list(parts.values()))
    table = pd.concat([_table(faces, name, drawing) for name, faces in parts.items()], ignore_index=True)
    table["caption"] = captions(everyone, seed)
    table[COLUMN] = written(drawing.landmarks(everyone, size, progress))
    manifest = Manifest.from_frame(table, root, name=str(root / MANIFEST))  # refuses before anything is drawn
    prepare(manifest, digest(manifest, everyone, drawing, size))
    files = manifest.files
    wanted = [k for k, file in enumerate(files) if not file.is_file()]
    with bar("drawing faces", len(everyone), progress) as advance, ThreadPoolExecutor(2) as pool:
        advance(len(everyone) - len(wanted))
        writing: list[Future[None]] = []
        done = 0
        if wanted:
            with closing(drawing.pictures(everyone.rows(wanted), size)) as batches:
                for pixels in batches:
                    _finish(writing, advance)  # the batch before was written while this one was drawn
                    chosen = [files[k] for k in wanted[done : done + len(pixels)]]
                    done += len(pixels)
                    writing = [pool.submit(write_png, *pair) for pair in zip(chosen, pixels, strict=True)]
        _finish(writing, advance)
    write_png(root / SHEET, _sheet(everyone, drawing))
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


def _table(faces: Factors, split: str, engine: Engine) -> pd.DataFrame:
    """Manifest rows of one split: contract columns and factors."""
    table = faces.frame()
    cohort, person = faces.cohort.int().tolist(), faces.identity.int().tolist()
    subjects = [f"s{c}-{p:05d}" for c, p in zip(cohort, person, strict=True)]
    table.insert(0, "subject", subjects)
    number = table.groupby("subject").cumcount()
    paths = [f"{IMAGES}/{split}/{s}/{n:04d}.png" for s, n in zip(subjects, number, strict=True)]
    table.insert(0, "path", paths)
    table = table.assign(
        source=engine.source, split=split, label_source="synthetic", detector="none", frame=-1
    )
    return table.assign(valence=faces.valence.numpy(), arousal=faces.arousal.numpy(), **engine.columns(faces))


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


def _finish(writing: Sequence[Future[None]], advance: Bar) -> None:
    for written in writing:
        written.result()
    advance(len(writing))


def _sheet(faces: Factors, engine: Engine) -> np.ndarray:
    """A contact sheet of a few people, from the lightest to the darkest skin: what a user looks at first."""
    import numpy as np

    from idfer.synthetic.sheet import contact_sheet

    people = np.stack([faces.cohort.numpy(), faces.identity.numpy()])
    first = np.unique(people, axis=1, return_index=True)[1]
    by_skin = first[np.argsort(faces.skin.numpy()[first], kind="stable")]
    spread = np.linspace(0, len(by_skin) - 1, min(engine.sheet_people, len(by_skin))).round().astype(int)
    return contact_sheet(faces.rows(by_skin[spread]), size=engine.sheet_size, engine=engine)
