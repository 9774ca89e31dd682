"""The attribute table: what CLIP says of every face of a manifest, computed once, kept in a Parquet file.

A row per manifest row, in its order; `table_file` says how the file is laid out.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from idfer.attributes.table_file import Box, Columns, is_table, read_columns, texts, top_levels, write_columns
from idfer.data.manifest import Manifest
from idfer.errors import IdferError, UsageError, unknown
from idfer.files import check_writable, taken

if TYPE_CHECKING:
    from idfer.attributes.vocabulary import Vocabulary


@dataclass(frozen=True)
class AttributeTable:
    """Attributes retrieved for N faces: A attributes of K levels in all, embeddings of width E.

    Attributes:
        path: (N,) as in the manifest.
        frame: (N,) int, -1 for a still.
        box: (N,) face boxes (x, y, width, height), or None where the image is the face.
        errors: (N,) text, why an image could not be read; "" = fine. Such a row's numbers are NaN.
        levels: level names of each attribute; side by side they are the K columns.
        posteriors: (N, K) float32 p[a, k](x).
        embedding: (N, E) float32 image embeddings e(x) of unit length (rounded to float16 precision).
        text: (K, E) float32 text embeddings t[a, k] of unit length.
        source: which CLIP and vocabulary made it: `clip`, `clip_fingerprint`, `scale`, `vocabulary`,
            `vocabulary_fingerprint`; whether the faces were all `drawn`; the `warning` that was given, or "".
    """

    path: np.ndarray
    frame: np.ndarray
    box: tuple[Box | None, ...]
    errors: np.ndarray
    levels: dict[str, list[str]]
    posteriors: np.ndarray
    embedding: np.ndarray
    text: np.ndarray
    source: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.path)

    def __str__(self) -> str:
        failed = int((self.errors != "").sum())
        names = ", ".join(f"{name} ({len(levels)} levels)" for name, levels in self.levels.items())
        return f"{names} of {len(self)} faces" + (f", {failed} of them unreadable" if failed else "")

    @property
    def warning(self) -> str:
        """What was said against relying on these answers when they were retrieved; "" for nothing."""
        return str(self.source.get("warning", ""))

    def posterior(self, attribute: str) -> np.ndarray:
        """(N, k) posteriors of one attribute's levels. Raises `UsageError` for an unknown one."""
        return self.posteriors[:, self._columns(attribute)]

    @property
    def free(self) -> np.ndarray:
        """(N, K - A) posteriors but each attribute's last level, which is one minus the others."""
        return np.concatenate([self.posterior(name)[:, :-1] for name in self.levels], axis=1)

    def top(self, attribute: str) -> np.ndarray:
        """(N,) name of the most probable level; "" where the image could not be read."""
        return top_levels(self.posterior(attribute), self.levels[attribute], self.errors)

    def retrieved(
        self, mode: Literal["soft", "hard"] = "soft", attributes: Sequence[str] | None = None
    ) -> np.ndarray:
        """Retrieved ID vectors c[a](x), METHOD section 2.

        Args:
            mode: `soft`: sum_k p[a, k](x) t[a, k] [ours]; `hard`: t[a, argmax_k p[a, k](x)] [lineage], which
                takes only as many values as there are levels.
            attributes: which, in which order; None means all.

        Returns:
            (N, A, E) float32; NaN where the image could not be read.

        Raises:
            UsageError: an unknown mode or attribute.
        """
        chosen = self if attributes is None else self.select(attributes)
        sizes = [len(levels) for levels in chosen.levels.values()]
        return id_vectors(chosen.posteriors, chosen.text, sizes, mode)

    def rows(self, keep: np.ndarray) -> AttributeTable:
        """The rows that a boolean mask (N,) keeps, or an integer array (n,) names, in that order."""
        chosen = np.flatnonzero(keep) if keep.dtype == bool else keep
        return replace(
            self, path=self.path[chosen], frame=self.frame[chosen], box=tuple(self.box[i] for i in chosen),
            errors=self.errors[chosen], posteriors=self.posteriors[chosen], embedding=self.embedding[chosen],
        )  # fmt: skip

    def select(self, attributes: Sequence[str]) -> AttributeTable:
        """Only these attributes, in this order.

        Raises:
            UsageError: one is not in the table, or is named twice.
        """
        if twice := [name for name, count in Counter(attributes).items() if count > 1]:
            raise UsageError(f"attribute {twice[0]!r} is named twice; name it once.")
        columns = [c for name in attributes for c in range(*self._columns(name).indices(self.text.shape[0]))]
        return replace(
            self, levels={name: self.levels[name] for name in attributes},
            posteriors=self.posteriors[:, columns], text=self.text[columns],
        )  # fmt: skip

    def align(self, manifest: Manifest) -> AttributeTable:
        """The table's rows in the order of a manifest, matched by path, frame and face box.

        Raises:
            IdferError: a row of the manifest is not in the table; the message names it.
        """
        at = {key: row for row, key in enumerate(zip(self.path, self.frame, self.box, strict=True))}
        frames = manifest.frame["frame"].to_numpy()
        order = []
        for row, path in enumerate(manifest.frame["path"]):
            position = at.get((path, int(frames[row]), manifest.box(row)))
            if position is None:
                raise IdferError(
                    f"row {row} of the manifest ({path}, frame {frames[row]}) is not in the attribute table; "
                    "run `idfer retrieve` again on this manifest."
                )
            order.append(position)
        return self.rows(np.array(order, int))

    def write(self, path: str | Path) -> Path:
        """Write as Parquet (whole or not at all); returns the path.

        Raises:
            IdferError: the folder cannot be written or the disk is full; what stood there is kept.
        """
        return write_columns(path, cast(Columns, vars(self)))

    @classmethod
    def read(cls, path: str | Path) -> AttributeTable:
        """Read a table that `write` or `idfer retrieve` made.

        Raises:
            IdferError: the file is missing, damaged, or not an attribute table.
        """
        return cls(**read_columns(path))

    def _columns(self, attribute: str) -> slice:
        """Where an attribute's levels stand among the K columns."""
        start = 0
        for name, levels in self.levels.items():
            if name == attribute:
                return slice(start, start + len(levels))
            start += len(levels)
        raise unknown("attribute", attribute, list(self.levels), "Retrieve it with a vocabulary that has it.")


def id_vectors(posteriors: np.ndarray, text: np.ndarray, sizes: Sequence[int], mode: str) -> np.ndarray:
    """Retrieved ID vectors c[a](x): `soft` or `hard`, see `AttributeTable.retrieved`.

    Args:
        posteriors: (N, K), the levels of all attributes side by side.
        text: (K, E) text embeddings of the levels.
        sizes: number of levels of each attribute, summing to K.
        mode: soft or hard.

    Returns:
        (N, A, E) float32; NaN where the posteriors are.

    Raises:
        UsageError: an unknown mode.
    """
    if mode not in ("soft", "hard"):
        raise unknown("mode", mode, ["soft", "hard"])
    vectors = np.empty((len(posteriors), len(sizes), text.shape[1]), np.float32)
    borders = np.cumsum(sizes)[:-1]
    parts = zip(np.split(posteriors, borders, axis=1), np.split(text, borders), strict=True)
    for position, (weights, words) in enumerate(parts):
        if mode == "hard":
            one_hot = np.eye(weights.shape[1], dtype=np.float32)[np.nan_to_num(weights).argmax(axis=1)]
            weights = np.where(np.isnan(weights), weights, one_hot)
        vectors[:, position] = weights @ words
    return vectors


def retrieve(
    manifest: str | Path | Manifest,
    clip: str | None = None,
    vocabulary: str | Path = "default",
    out: str | Path | None = None,
    batch_size: int = 128,
    device: str = "auto",
    num_workers: int = 2,
    progress: bool = True,
) -> AttributeTable:
    """Retrieve the attributes of every face of a manifest with a pre-trained CLIP.

    Image embeddings are cached by image content and model, a batch at a time: stopped at any moment, the same
    command goes on where it was and ends with the same table, and another vocabulary costs no second pass
    over the images. A line on stderr says which CLIP answered and how sure it was. An image that cannot be
    read becomes a row with `error` set, and one more line there.

    Args:
        manifest: a manifest, or the path of one.
        clip: `MODEL/TAG` or `MODEL/FILE` of open_clip, e.g. `ViT-B-16/openai`, `hf-hub:ORG/REPO`,
            `local-dir:FOLDER`, or `builtin` (offline; knows drawn faces only). Unless given, `builtin` for
            faces that `idfer synth` drew; photographs need one by name.
        vocabulary: `default`, `lineage`, or the path of a YAML file.
        out: Parquet file to write; None writes none.
        batch_size: images per forward pass and per commit to the cache.
        device: auto, cpu, cuda, cuda:N or mps.
        num_workers: threads that read and resize images.
        progress: whether to show a progress bar.

    Returns:
        The table, a row per manifest row.

    Raises:
        UsageError: an unknown CLIP, vocabulary or device, no CLIP named for photographs, or a number out of
            range.
        IdferError: the manifest or the vocabulary is broken, weights are missing, no image at all can be
            read, or the disk is full (what is encoded is kept).
    """
    if out is not None:
        check_out(out)
    for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0)):
        if value < least:
            raise UsageError(f"{name} is {value}; it must be {least} or more.")
    from idfer.attributes.vocabulary import Vocabulary

    words = Vocabulary.load(vocabulary)
    faces = manifest if isinstance(manifest, Manifest) else Manifest.read(manifest)

    from idfer.attributes.trust import clip_for, how_sure, top_posteriors, warning_of

    drawn = faces.drawn
    clip = clip_for(drawn, clip)
    if warning := warning_of(clip, drawn):
        _say(warning)

    from idfer.attributes.clip import load_clip
    from idfer.attributes.encode import encode_manifest

    model = load_clip(clip, device)
    text = model.encode_vocabulary(words)
    embedding, errors = encode_manifest(model, faces, batch_size, num_workers, progress)
    table = _assemble(faces, words, model.scale, text, embedding, errors)
    table.source.update(clip=clip, clip_fingerprint=model.fingerprint, drawn=drawn, warning=warning)
    if out is not None:
        table.write(out)
    _say(how_sure(clip, table.levels, np.nanmean(top_posteriors(table.posteriors, table.levels), axis=0)))
    if failed := np.flatnonzero(errors != "").tolist():
        _say(
            f"{len(failed)} of {len(faces)} images could not be read and have `error` set; the first: "
            f"{errors[failed[0]]}"
        )
    return table


def check_out(out: str | Path) -> None:
    """Refuse, before any work, what a table cannot or should not be written to.

    Raises:
        UsageError: the name does not end in .parquet, is a folder, cannot be written, or holds another file
            than an earlier table.
    """
    path = Path(out)
    if path.suffix.lower() != ".parquet":
        raise UsageError(f"-o {out}: an attribute table is a Parquet file; end its name with .parquet.")
    try:
        there = taken(path)
        if there and not path.is_file():
            raise UsageError(f"{path}: is no regular file; choose another -o.")
        check_writable(path.parent)
        ours = not there or path.stat().st_size == 0 or is_table(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{str(path)[:200]}: cannot be written ({reason}).") from error
    if not ours:
        raise UsageError(f"{path}: is no attribute table and would be replaced; choose another -o.")


def _say(message: str) -> None:
    print(f"idfer: {message}", file=sys.stderr)


def _assemble(
    faces: Manifest,
    words: Vocabulary,
    scale: float,
    text: np.ndarray,
    embedding: np.ndarray,
    errors: np.ndarray,
) -> AttributeTable:
    from idfer.attributes.clip import posteriors

    levels = words.levels
    return AttributeTable(
        path=texts(faces.frame["path"]),
        frame=faces.frame["frame"].to_numpy(np.int64),
        box=tuple(faces.box(row) for row in range(len(faces))),
        errors=errors,
        levels=levels,
        posteriors=posteriors(embedding, text, [len(of) for of in levels.values()], scale),
        embedding=embedding,
        text=text,
        source={"scale": scale, "vocabulary": words.name, "vocabulary_fingerprint": words.fingerprint},
    )
