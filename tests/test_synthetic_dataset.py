"""What `idfer synth` leaves on disk, and counterfactual faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from idfer.data.manifest import Manifest
from idfer.errors import IdferError, UsageError
from idfer.synthetic import dataset, engine, factors
from idfer.synthetic.captions import captions
from idfer.synthetic.dataset import counterfactual, synth, write_splits
from idfer.synthetic.factors import EXPRESSION, IDENTITY, NUISANCE, Factors, sample
from idfer.synthetic.render import render

PROTOCOL = "age:valence=-0.7,gender:arousal=0.7"


def read(file: Path) -> np.ndarray:
    return cv2.imread(str(file), cv2.IMREAD_COLOR)[:, :, ::-1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return synth(tmp_path_factory.mktemp("synth") / "faces", 4, 3, 48, PROTOCOL, seed=5, progress=False)


def test_manifest_reads_back_and_names_every_image(made: Manifest) -> None:
    again = Manifest.read(made.root)
    assert len(again) == 12
    assert again.splits == ["train"]
    assert list(dict.fromkeys(again.subjects)) == [f"s5-{k:05d}" for k in range(4)]
    assert set(again.frame["source"]) == {"idfer-synthetic"}
    assert set(again.frame["label_source"]) == {"synthetic"}
    for file in again.files:
        assert read(file).shape == (48, 48, 3)
    assert len(list((made.root / "images").rglob("*.png"))) == 12


def test_images_are_the_faces_of_their_rows(made: Manifest) -> None:
    """The factors in a manifest draw its images again, to the last bit."""
    faces = Factors.from_frame(Manifest.read(made.root).frame)
    np.testing.assert_array_equal(faces.valence.numpy(), made.targets[:, 0])
    drawn = render(faces, 48).permute(0, 2, 3, 1).numpy()
    for file, image in zip(made.files, drawn, strict=True):
        np.testing.assert_array_equal(read(file), image)


def test_captions_and_sheet_are_written(made: Manifest) -> None:
    captions = (made.root / "captions.txt").read_text(encoding="utf-8").splitlines()
    assert captions == list(made.frame["caption"])
    assert all(captions)
    sheet = read(made.root / "sheet.png")
    assert min(sheet.shape[:2]) > 4 * 64


def test_running_again_gives_the_same_and_leaves_what_is_not_ours(made: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "faces"
    synth(out, 6, 2, 32, seed=1, progress=False)
    (out / "attributes.parquet").write_bytes(b"somebody's work")
    again = synth(out, 4, 3, 48, PROTOCOL, seed=5, progress=False)
    assert (out / "attributes.parquet").read_bytes() == b"somebody's work"
    assert len(list((out / "images").rglob("*.png"))) == 12
    assert again.frame.equals(made.frame)
    for mine, other in zip(again.files, made.files, strict=True):
        assert mine.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_place_that_is_not_ours_is_refused_untouched(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "holiday"
    if kind == "folder":
        (out / "images").mkdir(parents=True)
        (out / "images" / "beach.png").write_bytes(b"sand")
    else:
        out.write_bytes(b"sand")
    with pytest.raises(UsageError, match="holiday"):
        synth(out, 1, 1, 16, progress=False)
    kept = out / "images" / "beach.png" if kind == "folder" else out
    assert kept.read_bytes() == b"sand"


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 8},
        {"size": 5000},
        {"identities": 0},
        {"seed": -1},
        {"seed": 99999999999999999999},
        {"identities": 999_999_999},
        {"identities": 10_000_000, "per_identity": 1000},
        {"per_identity": 10**15},
        {"correlation": "age=1"},
        {"split": "a/b"},
        {"variety": "widee"},
        {"identities": 2, "per_identity": 2, "cross": True, "variety": "wide"},
    ],
)
def test_wrong_requests_leave_nothing_behind(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        synth(tmp_path / "out", **{"identities": 1, "per_identity": 1, "progress": False, **wrong})
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_is_refused_before_it_is_drawn_and_says_what_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factors, "available_memory", lambda: 2**30)
    with pytest.raises(UsageError, match=r"about 26\.8 GiB of memory, 1\.0 GiB are free; at most 7,456 id"):
        synth(tmp_path / "out", identities=200_000, progress=False)
    monkeypatch.setattr(factors, "available_memory", lambda: None)
    monkeypatch.setattr(dataset, "free_disk", lambda _: 10**6)
    with pytest.raises(UsageError, match=r"at least 0\.2 GiB of disk.*about 488 fit"):
        synth(tmp_path / "out", identities=2500, per_identity=40, progress=False)
    with pytest.raises(UsageError, match="at most 16,777,215"):  # float32 factors could not tell them apart
        sample(2**24, 1)
    assert not (tmp_path / "out").exists()


def test_the_estimate_of_memory_is_what_drawing_takes() -> None:
    """What is held at the end, for the peak itself is no test's to measure."""
    faces = sample(500, 2)
    table = dataset._table(faces, "train", engine.Drawn())
    table["caption"] = captions(faces, 0)
    held = table.memory_usage(deep=True).sum() + 3 * 4 * len(Factors.names()) * len(faces)
    assert 0.3 < held / (len(faces) * factors._BYTES_PER_FACE) < 1


def test_pixels_do_not_depend_on_how_many_faces_are_drawn_at_once(
    made: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_BATCH_PIXELS", 48 * 48 * 5)
    again = synth(tmp_path / "faces", 4, 3, 48, PROTOCOL, seed=5, progress=False)
    for mine, other in zip(again.files, made.files, strict=True):
        assert mine.read_bytes() == other.read_bytes()


def test_a_run_that_was_killed_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "faces"

    def killed(file: Path, image: np.ndarray) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(dataset, "write_png", killed)
        synth(out, 2, 2, 16, progress=False)
    with pytest.raises(IdferError, match="no such manifest"):  # half a data set never reads as a whole one
        Manifest.read(out)
    assert len(synth(out, 2, 2, 16, progress=False)) == 4


def test_splits_share_people_by_name_but_not_with_train(tmp_path: Path) -> None:
    parts = {
        "train": sample(3, 2, PROTOCOL, seed=0),
        "balanced": sample(2, 2, "", seed=1),
        "reversed": sample(2, 2, "age:valence=0.7", seed=1),
    }
    manifest = write_splits(parts, tmp_path / "out", size=16, progress=False)
    assert manifest.splits == list(parts)
    assert set(manifest.select("balanced").subjects) == set(manifest.select("reversed").subjects)
    assert len({*manifest.files}) == len(manifest) == 14
    with pytest.raises(IdferError, match="IDF001"):
        write_splits({"train": parts["train"], "test": parts["train"]}, tmp_path / "bad", 16, progress=False)
    assert not (tmp_path / "bad").exists()
    with pytest.raises(UsageError, match="no split"):
        write_splits({}, tmp_path / "bad", 16)


def test_counterfactual_keeps_the_person_and_takes_the_expression() -> None:
    faces = sample(5, 2, seed=2)
    swapped = counterfactual(faces, identity_of=[0, 4], expression_of=[7, 2])
    for name in (*IDENTITY, *NUISANCE):
        assert torch.equal(getattr(swapped, name), getattr(faces, name)[[0, 4]]), name
    for name in EXPRESSION:
        assert torch.equal(getattr(swapped, name), getattr(faces, name)[[7, 2]]), name
    assert torch.equal(render(counterfactual(faces, 3, 3), 32), render(faces.rows([3]), 32))


def test_one_person_can_take_many_expressions() -> None:
    faces = sample(4, 1, seed=2)
    swapped = counterfactual(faces, 1, range(4))
    assert len(swapped) == 4
    assert (swapped.skin == faces.skin[1]).all()
    assert torch.equal(swapped.valence, faces.valence)
    with pytest.raises(UsageError, match="row 9"):
        counterfactual(faces, 9, 0)
    with pytest.raises(UsageError, match="2 identities for 3"):
        counterfactual(faces, [0, 1], [0, 1, 2])


def test_the_paths_of_all_faces_are_made_a_few_times_and_not_for_each_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done for each, thousands of faces took minutes, and hundreds no time that one would see."""
    made: list[int] = []
    get = Manifest.files.fget
    assert get is not None

    def counted(manifest: Manifest) -> list[Path]:
        made.append(len(manifest))
        return get(manifest)

    monkeypatch.setattr(Manifest, "files", property(counted))
    synth(tmp_path / "faces", identities=6, per_identity=5, size=16, progress=False)
    assert len(made) < 10
