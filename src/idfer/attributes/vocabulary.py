"""Vocabularies: which attributes CLIP is asked about, at which levels, in which words. Plain YAML, no torch.

A vocabulary file names attributes, each with prompt templates and at least two levels::

    name: mine
    attributes:
      glasses:
        templates: ["a photo of a person {}", "a face {}"]
        levels:
          without: [without glasses]
          with: [with glasses, wearing glasses]   # several words for one level are averaged
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from idfer.errors import IdferError, unknown

_PRESETS = Path(__file__).parent / "presets"
_SLOT = "{}"
# Column names of an attribute table, which an attribute may therefore not take.
RESERVED = ("path", "frame", "box", "error", "embedding")


@dataclass(frozen=True)
class Attribute:
    """One question to CLIP.

    Attributes:
        name: e.g. "age".
        templates: sentences with one or more `{}`, into which a level's words go.
        levels: the answers, two or more: level name -> its words.
    """

    name: str
    templates: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]

    def prompts(self, level: str) -> list[str]:
        """Every template filled with every word of `level`; their text embeddings are averaged.

        Raises:
            UsageError: the attribute has no such level.
        """
        if level not in self.levels:
            raise unknown(f"level of {self.name}", level, list(self.levels))
        return [template.replace(_SLOT, word) for word in self.levels[level] for template in self.templates]


@dataclass(frozen=True)
class Vocabulary:
    """The attributes to retrieve.

    Attributes:
        name: of the preset or file.
        attributes: by name, in the order of the file.
    """

    name: str
    attributes: dict[str, Attribute]

    @classmethod
    def load(cls, name_or_path: str | Path) -> Vocabulary:
        """Read a preset by name (`default` [ours], `lineage` [lineage]) or a YAML file by path.

        Raises:
            UsageError: the name is neither a preset nor a file.
            IdferError: the file is not a vocabulary; the message names file and attribute.
        """
        path = Path(name_or_path)
        preset = _PRESETS / f"{name_or_path}.yaml"
        if str(name_or_path) in presets():
            path = preset
        elif not _is_file(path):
            if path.suffix in {".yaml", ".yml"}:
                raise IdferError(
                    f"{path}: no such vocabulary file. Check the path, or use a preset: "
                    f"{', '.join(presets())}."
                )
            raise unknown("vocabulary", str(name_or_path), presets(), "Or give the path of a YAML file.")
        return cls.from_dict(_read_yaml(path), source=str(path), name=path.stem)

    @classmethod
    def from_dict(cls, content: object, source: str = "vocabulary", name: str = "custom") -> Vocabulary:
        """Check parsed YAML and build the vocabulary; raises as `load` does, naming `source`."""
        body = _mapping(content, source, "the file")
        _only(body, ("name", "attributes"), source)
        attributes = _mapping(body.get("attributes"), source, "attributes")
        if not attributes:
            raise IdferError(f"{source}: attributes is empty; name at least one attribute.")
        title = body.get("name", name)
        if not isinstance(title, str) or not title.strip():
            raise IdferError(f"{source}: name is {_shown(title)}; give it as text, or leave it out.")
        built = {str(key): _attribute(key, value, source) for key, value in attributes.items()}
        return cls(title, built)

    @property
    def levels(self) -> dict[str, list[str]]:
        """Level names of each attribute, in order; side by side they are the K posterior columns."""
        return {name: list(attribute.levels) for name, attribute in self.attributes.items()}

    def prompts(self, attribute: str, level: str) -> list[str]:
        """The prompts of one level of one attribute. Raises `UsageError` for a name that is not there."""
        if attribute not in self.attributes:
            raise unknown("attribute", attribute, list(self.attributes))
        return self.attributes[attribute].prompts(level)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change when any template, level or word does; the name does not matter."""
        content = [[a.name, a.templates, list(a.levels.items())] for a in self.attributes.values()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def presets() -> list[str]:
    """Names of the vocabularies that ship with the package."""
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def _attribute(name: object, content: object, source: str) -> Attribute:
    """Check one attribute of a vocabulary."""
    if not isinstance(name, str) or not name.strip():
        raise IdferError(f"{source}: attribute {name!r} is not a name; write it as text, in quotes.")
    where = f"attribute {name!r}"
    if "/" in name or name in RESERVED:
        raise IdferError(
            f"{source}: {where} clashes with a column of attribute tables; "
            f"choose a name without '/' and other than {', '.join(RESERVED)}."
        )
    if content is None or content == {}:
        raise IdferError(f"{source}: {where} is empty; give it templates and levels.")
    body = _mapping(content, source, where)
    _only(body, ("templates", "levels"), source, where)
    templates = _words(body.get("templates"), source, f"{where}: templates")
    if bare := [t for t in templates if _SLOT not in t]:
        raise IdferError(f"{source}: {where}: template {bare[0]!r} has no {_SLOT}; put it where words go.")
    levels: dict[str, tuple[str, ...]] = {}
    for level, words in _mapping(body.get("levels"), source, f"{where}: levels").items():
        if not isinstance(level, str) or not level.strip():  # YAML reads a bare `no:` as False
            raise IdferError(f"{source}: {where}: level {level!r} is not text; write its name in quotes.")
        levels[level] = _words(words, source, f"{where}: level {level!r}")
    if len(levels) < 2:
        raise IdferError(
            f"{source}: {where} has {len(levels)} level{'s' * (len(levels) != 1)}; "
            "CLIP chooses between levels, so give at least two."
        )
    return Attribute(name, templates, levels)


def _words(content: object, source: str, where: str) -> tuple[str, ...]:
    """A text or a list of texts, none of them empty."""
    texts = [content] if isinstance(content, str) else content
    if not isinstance(texts, list) or not texts:
        raise IdferError(
            f"{source}: {where} {'are' if where.endswith('s') else 'is'} empty; "
            "give a text or a list of texts."
        )
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise IdferError(
                f"{source}: {where}: {_shown(text)} is not a text; write words, in quotes if need be."
            )
    return tuple(texts)


def _shown(value: object) -> str:
    """A value as a message shows it; of a collection its kind, for a YAML alias can make one endless."""
    return f"a {type(value).__name__}" if isinstance(value, (list, dict, set, tuple)) else repr(value)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a null character
        return False


def _mapping(content: object, source: str, where: str) -> dict[Any, Any]:
    if not isinstance(content, dict):
        raise IdferError(
            f"{source}: {where} should be a mapping (`key: value` lines), not "
            f"{'nothing' if content is None else type(content).__name__}."
        )
    return content


def _only(body: dict[Any, Any], known: tuple[str, ...], source: str, where: str = "the file") -> None:
    """Refuse misspelt keys, which would otherwise be ignored in silence."""
    for key in body:
        if key not in known:
            raise IdferError(f"{source}: {where} has the unknown key {key!r}; known: {', '.join(known)}.")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, except that a repeated key is an error and not a silent overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is there twice; rename or remove one", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> object:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader: plain data only
    except OSError as error:
        raise IdferError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise IdferError(f"{path}: is not UTF-8 text, so not a YAML vocabulary.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise IdferError(f"{path}{line}: not a YAML vocabulary: {problem}.") from error
    except (ValueError, RecursionError) as error:  # a date that is none, a number or nesting without end
        raise IdferError(f"{path}: not a YAML vocabulary: {error}.") from error
