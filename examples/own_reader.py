"""A reader of your own: a data set as it lies on your disk becomes a manifest, without a fork.

idfer manifest own_reader:read /data/lab -o manifest.parquet
"""

from pathlib import Path

import pandas as pd

from idfer.data.readers.tally import SPLITS, Options, Tally, keep_present, keep_valid, number_columns


def read(root: Path, options: Options, tally: Tally) -> pd.DataFrame:
    """A row per face of `ratings.csv` (file, who, fold, v, a), whose images lie in `images/`.

    v and a are rated from 1 to 9; 0 says that there is no face. What is left out is told to `tally`.
    """
    table = pd.read_csv(root / "ratings.csv")
    table = table.rename(columns={"who": "subject", "v": "valence", "a": "arousal"})
    table["path"] = "images/" + table["file"]
    table["split"] = table["fold"].str.lower().map(SPLITS).fillna("")
    table = number_columns(table)
    table = tally.drop(table, (table["valence"] == 0).to_numpy(), "no face")
    table[["valence", "arousal"]] = (table[["valence", "arousal"]] - 5) / 4
    table = keep_present(keep_valid(table, tally), root, options, tally)
    return table[["path", "subject", "split", "valence", "arousal"]]
