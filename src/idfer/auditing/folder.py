"""The folder of an audit: audit.json, a CSV per table, and the faces it was made of, so that two compare.

`faces.parquet` has a row per face: `path` (the key), `subject`, `source`, `valence`, `arousal`,
`predicted_valence`, `predicted_arousal` where they are known, and a column `ATTRIBUTE/LEVEL` per level. It
can be given to `idfer audit` again, as predictions and as attributes alike.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.auditing.engine import SCHEMA, Audit
from idfer.auditing.sample import DIMENSIONS, Attribute, Sample
from idfer.auditing.tables import COLUMNS
from idfer.errors import IdferError
from idfer.files import atomic
from idfer.results import write_json

if TYPE_CHECKING:
    import pandas as pd

AUDIT, FACES, FEATURES, TABLES = "audit.json", "faces.parquet", "features.parquet", "tables"
_KEY = b"idfer.faces"
_LARGEST = 1 << 28  # bytes of an audit.json that are parsed


def write_audit(audit: Audit, folder: str | Path, sample: Sample | None = None) -> Path:
    """Write an audit's files, each whole or not at all, audit.json last.

    Args:
        audit: what was found.
        folder: where; tables of an earlier audit there that this one does not have are removed.
        sample: the faces, kept in `faces.parquet`; None keeps none.

    Returns:
        The path of audit.json.

    Raises:
        IdferError: the folder cannot be written.
    """
    root = Path(folder)
    if sample is not None:
        write_faces(sample, root / FACES)
    for name in COLUMNS:
        table: pd.DataFrame = getattr(audit, name)
        target = root / TABLES / f"{name}.csv"
        if len(table):
            with atomic(target) as temporary:
                table.to_csv(temporary, index=False)
        else:
            target.unlink(missing_ok=True)
    return write_json(root / AUDIT, audit.to_dict())


def write_faces(sample: Sample, path: str | Path) -> Path:
    """Write the faces of an audit, without their features."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"path": sample.key}
    for name in ("subject", "source"):
        values = getattr(sample, name)
        if values is not None:
            columns[name] = values.astype(str)
    for prefix, pairs in (("", sample.label), ("predicted_", sample.predicted)):
        if pairs is not None:
            columns |= {f"{prefix}{d}": pairs[:, i] for i, d in enumerate(DIMENSIONS)}
    described = []
    for attribute in sample.attributes:
        described.append(
            {
                "name": attribute.name, "levels": list(attribute.levels), "soft": attribute.soft,
                "source": attribute.source, "ordered": attribute.ordered,
            }
        )  # fmt: skip
        for level, values in zip(attribute.levels, attribute.posterior.T, strict=True):
            columns[f"{attribute.name}/{level}"] = values
    table = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
    table = table.replace_schema_metadata({_KEY: json.dumps({"attributes": described}).encode()})
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return Path(path)


def read_faces(path: str | Path) -> Sample:
    """The faces that `write_faces` wrote.

    Raises:
        IdferError: the file is missing, damaged, or none of ours.
    """
    import pyarrow.parquet as pq

    file = Path(path)
    if not file.is_file():
        raise IdferError(
            f"{file}: not there; an audit keeps its faces beside audit.json. Run the audit again."
        )
    try:
        table = pq.read_table(file)
        described = json.loads((table.schema.metadata or {})[_KEY])["attributes"]
        frame = table.to_pandas(ignore_metadata=True)
        attributes = tuple(_attribute(frame, known) for known in described)
        pairs: dict[str, Any] = {}
        for name, prefix in (("label", ""), ("predicted", "predicted_")):
            there = all(f"{prefix}{d}" in frame for d in DIMENSIONS)
            pairs[name] = frame[[f"{prefix}{d}" for d in DIMENSIONS]].to_numpy(np.float64) if there else None
        texts: dict[str, Any] = {
            n: frame[n].to_numpy(object) if n in frame else None for n in ("subject", "source")
        }
        return Sample(key=frame["path"].to_numpy(object), attributes=attributes, **pairs, **texts)
    except IdferError:
        raise
    except Exception as error:  # pyarrow raises many kinds for a broken file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise IdferError(f"{file}: is no faces of an audit ({reason}). Run the audit again.") from error


def _attribute(frame: pd.DataFrame, known: dict[str, Any]) -> Attribute:
    name, levels = known["name"], tuple(known["levels"])
    posterior = np.column_stack([frame[f"{name}/{level}"].to_numpy(np.float64) for level in levels])
    return Attribute(
        name, levels, posterior, bool(known["soft"]), str(known["source"]), bool(known["ordered"])
    )


def read_audit(path: str | Path) -> dict[str, Any]:
    """What an audit.json holds.

    Raises:
        IdferError: it is not there, or no audit of this version.
    """
    file = Path(path)
    if file.is_dir():
        file = file / AUDIT
    try:
        if file.stat().st_size > _LARGEST:
            raise IdferError(f"{file}: is larger than any audit.json; check that it is the right file.")
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise IdferError(
            f"{file}: cannot be read ({error.strerror}); give the audit.json of an audit."
        ) from error
    except (ValueError, RecursionError) as error:
        raise IdferError(f"{file}: is no JSON ({error}); give the audit.json of an audit.") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise IdferError(f"{file}: its schema is {schema!r}, this idfer reads {SCHEMA}; run the audit again.")
    found: dict[str, Any] = content
    return found
