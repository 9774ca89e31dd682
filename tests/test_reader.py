"""One face by itself has the answer that it has in a data set."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import idfer
from idfer import AttributeTable, Manifest
from idfer.attributes.reader import ClipReader
from idfer.data.images import read_image
from idfer.errors import IdferError, UsageError
from idfer.synthetic.dataset import synth

FACES = 12


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    synth(folder, identities=FACES // 2, per_identity=2, progress=False)
    return Manifest.read(folder)


def retrieve(drawn: Manifest, batch_size: int) -> AttributeTable:
    return idfer.retrieve(drawn, clip="builtin", batch_size=batch_size, device="cpu", progress=False)


def prepared(reader: ClipReader, drawn: Manifest) -> list[torch.Tensor]:
    return [reader.prepare(read_image(file), drawn.box(row)) for row, file in enumerate(drawn.files)]


@pytest.mark.parametrize("batch_size", [1, FACES])
def test_a_face_has_the_posteriors_of_the_table(drawn: Manifest, batch_size: int) -> None:
    table = retrieve(drawn, batch_size)
    reader = ClipReader.of_vocabulary("builtin", device="cpu")
    assert reader.columns == tuple(f"{name}/{level}" for name in table.levels for level in table.levels[name])
    faces = prepared(reader, drawn)
    for start in range(0, FACES, batch_size):
        rows = slice(start, start + batch_size)
        np.testing.assert_array_equal(reader.posteriors(faces[rows]), table.posteriors[rows])


def test_another_batch_size_moves_no_posterior_by_more_than_a_rounding_step(drawn: Manifest) -> None:
    reader = ClipReader.of_vocabulary("builtin", device="cpu")
    singly = [reader.posteriors([face])[0] for face in prepared(reader, drawn)]
    np.testing.assert_allclose(singly, retrieve(drawn, FACES).posteriors, atol=1e-4)


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_a_face_has_the_vectors_of_the_table_that_a_run_recorded(drawn: Manifest, mode: str) -> None:
    table = retrieve(drawn, 1).select(["skin", "gender"])
    reader = ClipReader.of_record(table.source, table.text, table.levels, mode, "cpu", "runs/a")
    singly = torch.cat([reader.vectors([face]) for face in prepared(reader, drawn)])
    assert singly.shape == (FACES, 2, table.text.shape[1])
    np.testing.assert_allclose(singly, table.retrieved(mode), atol=1e-7)  # one product sums in another order


def test_what_a_run_recorded_must_be_here(drawn: Manifest) -> None:
    table = retrieve(drawn, FACES)

    def ask(mode: str = "soft", **changes: object) -> None:
        source = {key: value for key, value in (table.source | changes).items() if value is not None}
        ClipReader.of_record(source, table.text, table.levels, mode, "cpu", "runs/a: its form 'simple'")

    with pytest.raises(IdferError, match=r"^runs/a: its form 'simple' reads ID vectors.*say the scale"):
        ask(scale=None)
    with pytest.raises(IdferError, match=r"runs/a: .*the CLIP 'local-dir:/gone', which .*no such folder"):
        ask(clip="local-dir:/gone")
    with pytest.raises(IdferError, match=r"runs/a: .*of fingerprint 0123, and the one here has"):
        ask(clip_fingerprint="0123")
    with pytest.raises(UsageError, match=r"runs/a: .*--retrieval truth.*photographs have none"):
        ask("truth")
