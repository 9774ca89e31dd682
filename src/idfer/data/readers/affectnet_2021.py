"""AffectNet, the release of 2021: images and one .npy a label; `affectnet` says the rest.

Format: `{train_set,val_set}/images/N.jpg` (faces, cropped) and `annotations/N_{exp,val,aro,lnd}.npy`, each
    one number, in some copies as text. A label takes a file, so this reads some ten thousand rows a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idfer.data.readers import disk
from idfer.data.readers.tally import ABSENT, MISSING, OUTSIDE, Options, Tally, keep_valid, refuse_images
from idfer.progress import bar

if TYPE_CHECKING:
    import pandas as pd

SETS = {"train_set": "train", "val_set": "val"}
NO_FACE = "no face, or the rater was uncertain (label -2)"
NO_LABEL = "image has no valence or no arousal file"
BROKEN = "label file cannot be read"


def sets(root: Path) -> list[Path]:
    """The folders of this release that are there."""
    return [root / name for name in SETS if (root / name / "annotations").is_dir()]


def read(root: Path, options: Options, tally: Tally) -> pd.DataFrame:
    """A row per labelled image under `root`; `detector` is "none", since the images are faces.

    Raises:
        UsageError: a folder of images was given.
    """
    import pandas as pd

    refuse_images(options, "AffectNet of 2021", "in `images` beside `annotations`")
    for name in SETS.keys() - {folder.name for folder in sets(root)}:
        tally.add(ABSENT, 1, f"{name}/annotations")
    parts = [_read_set(root, folder.name, options, tally) for folder in sets(root)]
    return keep_valid(pd.concat(parts), tally, invalid=-2, mark=NO_FACE)


def _read_set(root: Path, name: str, options: Options, tally: Tally) -> pd.DataFrame:
    import pandas as pd

    inside = disk.Inside(root, options.follow_links)
    images = _by_stem(inside.files(f"{name}/images"), f"{name}/images", tally)
    notes = inside.files(f"{name}/annotations")
    if notes is None:
        tally.add(OUTSIDE, 1, f"{name}/annotations")
        notes = {}
    labelled = {file[:-8] for file, state in notes.items() if file.endswith("_val.npy") and not state}
    labelled &= {file[:-8] for file, state in notes.items() if file.endswith("_aro.npy") and not state}
    unlabelled, absent = sorted(images.keys() - labelled), sorted(labelled - images.keys())
    tally.add(NO_LABEL, len(unlabelled), f"{name}/images/{unlabelled[0]}" if unlabelled else "")
    tally.add(MISSING, len(absent), f"{name}/images/{absent[0]}.jpg" if absent else "")
    stems = sorted(labelled & images.keys())
    folder = root / name / "annotations"
    values = np.full((len(stems), 3), np.nan)
    kept = np.ones(len(stems), bool)
    with bar(f"reading {name}", len(stems), options.progress) as advance:
        for row, stem in enumerate(stems):
            for column, label in enumerate(("val", "aro", "exp")):
                try:
                    values[row, column] = _number(folder / f"{stem}_{label}.npy")
                except (OSError, ValueError, EOFError):
                    kept[row] &= label == "exp"  # the expression is not needed
            advance()
    broken = np.flatnonzero(~kept)
    tally.add(BROKEN, broken.size, f"{name}/annotations/{stems[broken[0]]}" if broken.size else "")
    return pd.DataFrame(
        {
            "path": [f"{name}/images/{images[stems[row]]}" for row in np.flatnonzero(kept)],
            "valence": values[kept, 0],
            "arousal": values[kept, 1],
            "expression": values[kept, 2].astype(np.float32),
            "split": SETS[name],
            "detector": "none",
        }
    )


def _by_stem(files: dict[str, int] | None, folder: str, tally: Tally) -> dict[str, str]:
    """Images by their name without its suffix."""
    outside = sorted(name for name, state in (files or {}).items() if state == disk.OUTSIDE)
    if files is None:
        tally.add(OUTSIDE, 1, folder)
    tally.add(OUTSIDE, len(outside), f"{folder}/{outside[0]}" if outside else "")
    return {
        name.rpartition(".")[0]: name
        for name, state in (files or {}).items()
        if state == disk.PRESENT and name.lower().endswith((".jpg", ".jpeg", ".png"))
    }


def _number(file: Path) -> float:
    """The one number in a .npy file, which may be text; pickled objects are refused."""
    value = np.load(file, allow_pickle=False)
    if value.size != 1:
        raise ValueError(f"{file} holds {value.size} values")
    return float(value.item())
