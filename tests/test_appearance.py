"""Strong augmentation: JPEG as Pillow's, the same for any part of a batch, and a run that trains with it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import idfer
from idfer import Manifest, UsageError
from idfer.synthetic.factors import sample
from idfer.synthetic.render import render
from idfer.training import appearance
from idfer.training.appearance import strong
from idfer.training.checkpoint import load_checkpoint
from idfer.training.draws import Draws
from idfer.training.jpeg import jpeg

OPTIONS: dict[str, Any] = {
    "backbone": "conv4", "size": 32, "batch_size": 32, "dim": 8, "epochs": 1, "device": "cpu",
    "progress": False, "method": "erm",
}  # fmt: skip


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return render(sample(4, 4, seed=5), 48)


def varied(faces: Tensor, seed: int = 0, **part: int) -> Tensor:
    return strong(faces, torch.Generator().manual_seed(seed), **part)


@pytest.mark.parametrize("quality", [20, 50, 90])
@pytest.mark.parametrize("side", [48, 40])
def test_jpeg_is_what_a_file_gives_back(faces: Tensor, quality: int, side: int) -> None:
    faces = faces[..., :side, :side]
    ours = jpeg(faces.float(), torch.full((len(faces),), float(quality)))
    theirs = torch.stack([through_pillow(face, quality) for face in faces])
    lost = (faces.float() - theirs).abs().mean()
    assert (ours - theirs).abs().mean() < max(0.3 * float(lost), 1.0)


def through_pillow(face: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    Image.fromarray(face.permute(1, 2, 0).numpy()).save(file, "jpeg", quality=quality, subsampling=2)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float()


def test_qualities_are_each_face_s_own(faces: Tensor) -> None:
    mixed = jpeg(faces[:2].float(), torch.tensor([10.0, 95.0]))
    assert torch.equal(mixed[1:], jpeg(faces[1:2].float(), torch.tensor([95.0])))
    assert (mixed[0] - faces[0]).abs().mean() > 2 * (mixed[1] - faces[1]).abs().mean()


def test_parts_of_a_batch_are_varied_as_the_whole_is(faces: Tensor) -> None:
    whole = varied(faces)
    parts = torch.cat([varied(faces[start : start + 8], first=start, of=16) for start in (0, 8)])
    torch.testing.assert_close(parts, whole, atol=1e-2, rtol=0)
    assert not torch.equal(varied(faces, 1), whole)
    assert whole.shape == faces.shape and whole.min() >= 0 and whole.max() <= 255


@pytest.mark.parametrize(
    "part",
    ["tint", "light", "texture", "occlude", "grey", "blur", "cut", "coarsen", "grain", "compress"],
)
def test_every_part_changes_some_faces_and_leaves_others(faces: Tensor, part: str) -> None:
    many = faces.repeat(4, 1, 1, 1).float() / 255
    draws = Draws(torch.Generator().manual_seed(2), 0, len(many), len(many), many.device)
    moved = (getattr(appearance, part)(many.clone(), draws) - many).abs().amax((1, 2, 3))
    assert (moved > 0.02).sum() >= 5, "seen in some"
    assert (moved < 1e-3).sum() >= 2, "clean faces are seen, too"


def test_a_run_trains_with_it_and_says_so(squares: Manifest, tmp_path: Path) -> None:
    logs = {}
    for name in ("strong", True):
        run = idfer.fit(squares, out=tmp_path / str(name), augmentation=name, **OPTIONS)
        assert load_checkpoint(run).record.settings.augmentation == name
        logs[name] = (run / "log.jsonl").read_text()
    assert logs["strong"] != logs[True]


def test_an_unknown_kind_is_refused_by_name(squares: Manifest, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown augmentation .stron.*Did you mean .strong."):
        idfer.fit(squares, out=tmp_path / "run", augmentation="stron", **OPTIONS)
