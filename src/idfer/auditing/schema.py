"""The JSON Schemas of audit.json and comparison.json, made from the tables' columns, as shipped files.

`python -m idfer.auditing.schema` writes `audit.schema.json` and `comparison.schema.json` again after a column
has changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from idfer.auditing import compare
from idfer.auditing.checks import LEVELS
from idfer.auditing.engine import SCHEMA
from idfer.auditing.tables import COLUMNS

FILE = Path(__file__).with_name("audit.schema.json")
COMPARISON_FILE = Path(__file__).with_name("comparison.schema.json")
_TEXT, _NUMBER = {"type": "string"}, {"type": ["number", "null"]}
_COUNT, _SHARE = (
    {"type": ["number", "null"], "minimum": 0},
    {"type": ["number", "null"], "minimum": 0, "maximum": 1},
)
_PLACE = {"type": "integer", "minimum": 0}
_TEXTS = {
    "attribute", "level", "level_a", "level_b", "dimension", "metric", "feature", "probe", "estimator",
    "label", "bin", "part",
}  # fmt: skip
_COLUMNS: dict[str, Any] = {
    **dict.fromkeys(_TEXTS, _TEXT),
    **dict.fromkeys(("rows", "people", "people_a", "people_b"), _COUNT),
    **dict.fromkeys(("p", "p_adjusted", "share", "evenness", "dominance", "normalised", "cramers_v"), _SHARE),
    **dict.fromkeys(("valence_bin", "arousal_bin"), _PLACE),
    "kind": {"enum": ["pair", "rest"]},
    "significant": {"type": ["boolean", "null"]},
    "note": {"type": ["string", "null"]},
}


def schema() -> dict[str, Any]:
    """The schema of audit.json as plain data (JSON Schema 2020-12)."""
    tables = {name: _table(name, columns) for name, columns in COLUMNS.items()}
    about = _about(["predictions", "model", "data"])
    return _whole("audit.json", SCHEMA, about, tables, 3, "idfer.auditing.engine.Audit")


def comparison_schema() -> dict[str, Any]:
    """The schema of comparison.json."""
    tables = {
        "comparison": _table("comparison", compare.COLUMNS),
        "accuracy_comparison": _table("accuracy_comparison", compare.OVERALL),
    }
    about = _about(["comparison"], names={"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2})
    return _whole("comparison.json", compare.SCHEMA, about, tables, 2, "idfer.auditing.compare.Comparison")


def _about(kinds: list[str], **more: Any) -> dict[str, Any]:
    return _object(
        {
            "name": _TEXT,
            "kind": {"enum": kinds},
            "rows": {"type": "integer", "minimum": 1},
            "people": {"type": ["integer", "null"]},
            "attributes": {"type": "array", "items": _TEXT},
            "command": _TEXT,
            **more,
        },
        closed=False,
    )


def _whole(
    file: str, name: str, about: dict[str, Any], tables: dict[str, Any], least: int, explained: str
) -> dict[str, Any]:
    """A file's schema; its verdict has `least` to three sentences."""
    check = _object(
        {
            "code": {"type": "string", "pattern": "^IDF3[0-9]{2}$"},
            "level": {"enum": list(LEVELS)},
            "message": _TEXT,
            "attribute": {"type": ["string", "null"]},
        }
    )
    settings = _object(
        {"level": {"type": "number"}, "min_people": {"type": "integer"}, "seed": {"type": "integer"}},
        closed=False,
    )
    content = {
        "schema": {"const": name},
        "about": about,
        "settings": settings,
        **tables,
        "checks": {"type": "array", "items": check},
        "verdict": {"type": "array", "items": _TEXT, "minItems": least, "maxItems": 3},
        "environment": {"type": "object", "additionalProperties": _TEXT},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{file} of idfer",
        "description": f"Numbers without a value are null; {explained} explains the tables.",
        **_object(content),
    }


def _table(name: str, columns: tuple[str, ...]) -> dict[str, Any]:
    row = _object({column: _COLUMNS.get(column, _NUMBER) for column in columns})
    return {"type": "array", "description": f"table `{name}`, a row each", "items": row}


def _object(properties: dict[str, Any], closed: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties, "required": list(properties)}
    return found | ({"additionalProperties": False} if closed else {})


if __name__ == "__main__":
    for made, path in ((schema(), FILE), (comparison_schema(), COMPARISON_FILE)):
        path.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
