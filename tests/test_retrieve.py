import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import cv2
import numpy as np
import open_clip
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import save_file

import tiny_clip
from idfer.attributes import encode
from idfer.attributes.clip import Clip, load_clip, posteriors
from idfer.attributes.table import AttributeTable, retrieve
from idfer.cli import main
from idfer.data.manifest import DRAWN, RENDERED, Manifest
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError, UsageError
from idfer.synthetic.factors import level, sample
from idfer.synthetic.render import render


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return f"local-dir:{tiny_clip.make(tmp_path_factory.mktemp('tiny'))}"


def write_faces(root, count, **columns):
    rng = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)
    for row in range(count):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / f"{row}.png")
    table = {"path": [f"{row}.png" for row in range(count)], "valence": 0.0, "arousal": 0.0, **columns}
    manifest = Manifest.from_frame(pd.DataFrame(table), root)
    manifest.write(root / "manifest.parquet")
    return manifest


def same(first, second):
    for name in ("path", "frame", "errors", "posteriors", "embedding", "text"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    assert (first.levels, first.box, first.source) == (second.levels, second.box, second.source)


def cached_rows(folder):
    (file,) = folder.glob("retrieval/*.sqlite")
    with sqlite3.connect(file) as cache:
        return cache.execute("SELECT count(*) FROM result").fetchone()[0]


def count_encoded(monkeypatch):
    """The sizes of the batches that go through the model from here on."""
    encoded = []
    original = Clip.encode_preprocessed

    def counting(self, batch):
        encoded.append(len(batch))
        return original(self, batch)

    monkeypatch.setattr(Clip, "encode_preprocessed", counting)
    return encoded


def test_rows_are_what_clip_says_of_each_image(tmp_path, spec):
    manifest = write_faces(tmp_path, 7)
    out = tmp_path / "attributes.parquet"
    table = retrieve(manifest, spec, out=out, batch_size=3, device="cpu", progress=False)
    clip = load_clip(spec, "cpu")
    images = [np.asarray(Image.open(file)) for file in manifest.files]
    np.testing.assert_allclose(table.embedding, clip.encode_images(images), atol=5e-4)
    expected = posteriors(table.embedding, table.text, [2, 3, 3], clip.scale)
    np.testing.assert_allclose(table.posteriors, expected, atol=1e-6)
    for name in ("gender", "age", "skin"):
        np.testing.assert_allclose(table.posterior(name).sum(axis=1), 1, atol=1e-5)
        assert list(table.top(name)) == [table.levels[name][k] for k in table.posterior(name).argmax(axis=1)]
    same(AttributeTable.read(out), table)


def test_the_file_can_be_read_without_idfer(tmp_path, spec):
    manifest = write_faces(tmp_path, 3)
    (tmp_path / "1.png").write_bytes(b"")
    out = tmp_path / "attributes.parquet"
    table = retrieve(tmp_path / "manifest.parquet", spec, out=out, device="cpu", progress=False)
    frame = pd.read_parquet(out)
    assert list(frame.columns) == [
        "path", "frame", "error", "gender/feminine", "gender/masculine", "gender", "age/young",
        "age/middle-aged", "age/older", "age", "skin/light", "skin/medium", "skin/dark", "skin", "embedding",
    ]  # fmt: skip
    assert list(frame["path"]) == list(manifest.frame["path"])
    np.testing.assert_array_equal(frame["age/older"].to_numpy(), table.posterior("age")[:, 2])
    np.testing.assert_array_equal(frame["embedding"].iloc[2], table.embedding[2])
    assert frame["age"].isna().tolist() == [False, True, False]
    assert frame["age/older"].dtype == np.float32


def test_soft_and_hard_vectors(tmp_path, spec):
    table = retrieve(write_faces(tmp_path, 4), spec, device="cpu", progress=False)
    soft, hard = table.retrieved("soft"), table.retrieved("hard", ["skin", "gender"])
    assert soft.shape == (4, 3, table.text.shape[1])
    np.testing.assert_allclose(soft[:, 1], table.posterior("age") @ table.text[2:5], atol=1e-6)
    for row in range(4):
        np.testing.assert_array_equal(hard[row, 0], table.text[5 + table.posterior("skin")[row].argmax()])
        np.testing.assert_array_equal(hard[row, 1], table.text[table.posterior("gender")[row].argmax()])
    chosen = table.select(["skin", "gender"])
    np.testing.assert_array_equal(chosen.retrieved("hard"), hard)
    np.testing.assert_array_equal(chosen.posteriors, table.posteriors[:, [5, 6, 7, 0, 1]])
    with pytest.raises(UsageError, match="Did you mean 'skin'"):
        table.select(["skn"])
    with pytest.raises(UsageError, match="Did you mean 'hard'"):
        table.retrieved("herd")


def test_an_unreadable_image_is_a_row_with_an_error(tmp_path, spec, capsys):
    manifest = write_faces(tmp_path, 10)
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "5.png").write_bytes(b"")
    (tmp_path / "6.png").write_bytes((tmp_path / "7.png").read_bytes()[:200])
    (tmp_path / "9.png").unlink()
    table = retrieve(manifest, spec, batch_size=4, device="cpu", progress=False)
    bad = [2, 5, 6, 9]
    assert np.flatnonzero(table.errors != "").tolist() == bad
    for row in bad:
        assert f"{row}.png" in table.errors[row]
        assert np.isnan(table.posteriors[row]).all()
        assert np.isnan(table.embedding[row]).all()
        assert np.isnan(table.retrieved("hard")[row]).all()
        assert table.top("age")[row] == ""
    good = np.setdiff1d(np.arange(10), bad)
    assert np.isfinite(table.posteriors[good]).all()
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 2
    assert said[1].startswith("idfer: 4 of 10 images could not be read")
    assert "2.png: is empty" in said[1]


@contextmanager
def at_most(seconds):
    """Fail, not hang, when what is inside waits for ever."""

    def give_up(*_):
        raise AssertionError(f"still busy after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def retrieve_in_4_gb(folder, spec, out):
    """The command in a process of its own, with no more address space than that; never a hang."""
    code = (
        "import resource, sys; import open_clip; "  # importing is not what is measured
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize(); "
        "resource.setrlimit(resource.RLIMIT_AS, (used + 4_000_000_000,) * 2); "
        "from idfer.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = [
        "retrieve",
        str(folder),
        "--clip",
        spec,
        "-o",
        str(out),
        "--device",
        "cpu",
        "--progress",
        "false",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return AttributeTable.read(out)


def test_a_pipe_and_a_device_are_rows_with_an_error(tmp_path, spec):
    write_faces(tmp_path, 4)
    for name in ("1.png", "2.png"):
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / "1.png")
    (tmp_path / "2.png").symlink_to("/dev/zero")
    table = retrieve_in_4_gb(tmp_path, spec, tmp_path / "a.parquet")
    assert np.flatnonzero(table.errors != "").tolist() == [1, 2]
    for row in (1, 2):
        assert f"{row}.png: is not a file (a pipe or device)" in table.errors[row]


def test_a_name_that_is_none_and_a_file_without_end_are_rows_with_an_error(tmp_path, spec):
    manifest = write_faces(tmp_path, 5)
    manifest.frame.loc[1, "path"] = "x" * 5000 + ".png"
    manifest.frame.loc[2, "path"] = "nul\0.png"
    with (tmp_path / "3.png").open("wb") as sparse:
        sparse.truncate(1 << 40)
    with at_most(60):
        table = retrieve(manifest, spec, device="cpu", progress=False)
    assert np.flatnonzero(table.errors != "").tolist() == [1, 2, 3]


def test_an_image_too_narrow_for_the_clip_is_a_row_with_an_error(tmp_path):
    wide = tiny_clip.MODEL | {"vision_cfg": tiny_clip.MODEL["vision_cfg"] | {"image_size": 224}}
    config = {"model_cfg": wide, "preprocess_cfg": {}}
    clip = tmp_path / "clip"
    clip.mkdir()
    (clip / "open_clip_config.json").write_text(json.dumps(config))
    save_file(open_clip.CLIP(**wide).state_dict(), clip / "open_clip_model.safetensors")
    faces = tmp_path / "faces"
    write_faces(faces, 2)
    Image.new("L", (60_000, 1)).save(faces / "1.png")
    table = retrieve_in_4_gb(faces, f"local-dir:{clip}", tmp_path / "a.parquet")
    assert "1.png: the image of 60000 x 1 pixels is too narrow" in table.errors[1] and not table.errors[0]


@pytest.mark.parametrize("failure", [MemoryError(), cv2.error("resize failed")])
def test_a_face_that_cannot_be_prepared_is_a_row_with_an_error(tmp_path, spec, monkeypatch, failure):
    manifest = write_faces(tmp_path, 3, box=[None, [4.0, 4.0, 20.0, 20.0], None])

    def fail(*_):
        raise failure

    monkeypatch.setattr(Preprocess, "crop", fail)
    table = retrieve(manifest, spec, device="cpu", progress=False)
    assert np.flatnonzero(table.errors != "").tolist() == [1]
    assert table.errors[1].startswith(f"{tmp_path / '1.png'}: cannot be cropped for CLIP (")


def test_no_readable_image_at_all_is_an_error(tmp_path, spec):
    manifest = write_faces(tmp_path, 3)
    moved = Manifest(manifest.frame, tmp_path / "elsewhere")
    with pytest.raises(IdferError, match=r"none of the 3 images can be read.*0\.png: no such file"):
        retrieve(moved, spec, device="cpu", progress=False)


def test_a_second_run_encodes_nothing(tmp_path, spec, monkeypatch):
    manifest = write_faces(tmp_path, 9)
    first = retrieve(manifest, spec, batch_size=4, device="cpu", progress=False)
    encoded = count_encoded(monkeypatch)
    same(retrieve(manifest, spec, batch_size=4, device="cpu", progress=False), first)
    retrieve(
        manifest, spec, "lineage", batch_size=5, device="cpu", progress=False
    )  # other words, same images
    assert encoded == []
    Image.new("RGB", (32, 32), "red").save(tmp_path / "3.png")  # same path, other content
    changed = retrieve(manifest, spec, batch_size=4, device="cpu", progress=False)
    assert encoded == [1]
    moved = np.flatnonzero((changed.embedding != first.embedding).any(axis=1))
    assert moved.tolist() == [3]


def test_equal_images_are_encoded_once_and_boxes_make_them_differ(tmp_path, spec, monkeypatch):
    boxes = [None, [4.0, 4.0, 20.0, 20.0], None, [9.0, 9.0, 20.0, 20.0], None, None]
    manifest = write_faces(tmp_path, 6, box=boxes)
    data = (tmp_path / "0.png").read_bytes()
    for row in range(6):
        (tmp_path / f"{row}.png").write_bytes(data)
    encoded = count_encoded(monkeypatch)
    out = tmp_path / "attributes.parquet"
    table = retrieve(manifest, spec, out=out, batch_size=2, device="cpu", progress=False)
    assert sum(encoded) == 3  # the whole image and two crops
    assert len(np.unique(table.embedding, axis=0)) == 3
    assert AttributeTable.read(out).box[1] == (4.0, 4.0, 20.0, 20.0)
    same(AttributeTable.read(out).align(manifest), table)


def test_align_follows_the_manifest_and_names_what_is_missing(tmp_path, spec):
    manifest = write_faces(tmp_path, 6)
    table = retrieve(manifest, spec, device="cpu", progress=False)
    order = np.array([4, 0, 2])
    np.testing.assert_array_equal(table.align(manifest.rows(order)).embedding, table.embedding[order])
    with pytest.raises(IdferError, match=r"row 5 of the manifest \(5\.png.*`idfer retrieve` again"):
        table.rows(np.arange(5)).align(manifest)


def test_a_frame_of_no_video_is_refused_by_name(tmp_path, spec):
    with pytest.raises(IdferError, match=r"row 1 \(1\.png\): IDF005 frame is '7', but the file is no video"):
        retrieve(write_faces(tmp_path, 3, frame=[-1, 7, -1]), spec, device="cpu", progress=False)


@pytest.mark.parametrize("option", ["batch_size", "num_workers"])
def test_numbers_out_of_range(tmp_path, spec, option):
    with pytest.raises(UsageError, match=option):
        retrieve(write_faces(tmp_path, 1), spec, **{option: -1})


def test_broken_tables_are_named(tmp_path):
    file = tmp_path / "attributes.parquet"
    with pytest.raises(IdferError, match="no such attribute table"):
        AttributeTable.read(file)
    file.write_bytes(b"PAR1 not really")
    with pytest.raises(IdferError, match="cannot be read as Parquet"):
        AttributeTable.read(file)
    write_faces(tmp_path, 1).write(file)
    with pytest.raises(IdferError, match="is not an attribute table"):
        AttributeTable.read(file)


@contextmanager
def files_of_at_most(size):
    """The kernel refuses to let any file grow beyond this, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_at_the_end_keeps_the_old_table(tmp_path, spec):
    table = retrieve(write_faces(tmp_path, 8), spec, device="cpu", progress=False)
    out = tmp_path / "attributes.parquet"
    out.write_bytes(b"what was there before")
    with files_of_at_most(1000), pytest.raises(IdferError, match=r"cannot write .*attributes\.parquet"):
        table.write(out)
    assert out.read_bytes() == b"what was there before"
    assert not list(tmp_path.glob(".attributes-*"))


def test_a_full_disk_in_the_middle_keeps_what_is_encoded(tmp_path, spec):
    manifest = write_faces(tmp_path, 400)
    with files_of_at_most(60_000), pytest.raises(IdferError, match="what is done so far is kept"):
        retrieve(manifest, spec, batch_size=8, device="cpu", progress=False)
    kept = cached_rows(encode.cache_dir())
    assert 0 < kept < 400
    assert (retrieve(manifest, spec, batch_size=8, device="cpu", progress=False).errors == "").all()


def test_a_broken_cache_names_its_file(tmp_path, spec):
    manifest = write_faces(tmp_path, 2)
    file = encode.cache_path(load_clip(spec, "cpu").fingerprint)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is no database, whatever its name says" * 50)
    with pytest.raises(IdferError, match=r"\.sqlite: the embedding cache cannot be used .* Delete that file"):
        retrieve(manifest, spec, device="cpu", progress=False)


def test_a_damaged_row_of_the_cache_names_its_file(tmp_path, spec):
    manifest = write_faces(tmp_path, 2)
    retrieve(manifest, spec, device="cpu", progress=False)
    file = encode.cache_path(load_clip(spec, "cpu").fingerprint)
    with closing(sqlite3.connect(file)) as cache, cache:
        cache.execute("UPDATE result SET value = x'00'")
    with pytest.raises(IdferError, match=r"\.sqlite: the embedding cache cannot be used .* Delete that file"):
        retrieve(manifest, spec, device="cpu", progress=False)


def test_the_builtin_clip_knows_unseen_embedded_faces(tmp_path):
    faces = sample(100, 3, seed=4242)  # training people have seeds of a million and more
    for row, image in enumerate(render(faces, 64)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{row}.png")
    paths = [f"{row}.png" for row in range(len(faces))]
    columns = {"path": paths, "valence": 0.0, "arousal": 0.0, "source": DRAWN}
    manifest = Manifest.from_frame(pd.DataFrame(columns), tmp_path)
    table = retrieve(manifest, device="cpu", progress=False)
    for name, least in (("gender", 0.92), ("age", 0.80), ("skin", 0.87)):
        right = table.top(name) == level(name, getattr(faces, name))
        assert right.mean() >= least, name
        confidence = table.posterior(name).max(axis=1)
        assert abs(confidence.mean() - right.mean()) < 0.08, name  # the temperature is fitted
    lineage = retrieve(manifest, vocabulary="lineage", device="cpu", progress=False)
    ours = {"women": "feminine", "men": "masculine"}
    said = np.array([ours[word] for word in lineage.top("gender")])
    assert (said == level("gender", faces.gender)).mean() >= 0.92


@pytest.mark.parametrize("sources", ["", [DRAWN, "phone"], [DRAWN, RENDERED]])
def test_photographs_need_a_clip_by_name(tmp_path, capsys, sources):
    manifest = write_faces(tmp_path, 2, source=sources)
    with pytest.raises(
        UsageError,
        match=r"photographs and rendered faces need a CLIP by name: --clip ViT-B-16/openai.*builtin",
    ):
        retrieve(manifest, device="cpu", progress=False)
    assert main(["retrieve", str(tmp_path), "-o", str(tmp_path / "a.parquet"), "--device", "cpu"]) == 2
    assert "--clip builtin uses it all the same" in capsys.readouterr().err
    assert not (tmp_path / "a.parquet").exists()


def test_the_builtin_clip_on_photographs_warns_and_the_table_remembers(tmp_path, capsys):
    manifest = write_faces(tmp_path, 2)
    retrieve(manifest, "builtin", out=tmp_path / "a.parquet", device="cpu", progress=False)
    table = AttributeTable.read(tmp_path / "a.parquet")
    assert table.source["drawn"] is False and table.source["clip"] == "builtin"
    assert "trained on drawn faces only" in table.warning
    assert f"idfer: {table.warning}" in capsys.readouterr().err.splitlines()


def test_the_builtin_clip_on_drawn_faces_and_another_on_photographs_do_not_warn(tmp_path, spec, capsys):
    drawn = retrieve(write_faces(tmp_path / "drawn", 2, source=DRAWN), device="cpu", progress=False)
    other = retrieve(write_faces(tmp_path / "photos", 2), spec, device="cpu", progress=False)
    assert (drawn.source["clip"], drawn.source["drawn"], drawn.warning) == ("builtin", True, "")
    assert (other.source["clip"], other.source["drawn"], other.warning) == (spec, False, "")
    assert "trained on drawn faces only" not in capsys.readouterr().err


def test_which_clip_answered_and_how_sure_it_was_is_said(tmp_path, spec, capsys):
    manifest = write_faces(tmp_path, 5)
    (tmp_path / "3.png").write_bytes(b"")
    table = retrieve(manifest, spec, device="cpu", progress=False)
    said = capsys.readouterr().err.splitlines()[0]
    assert said.startswith(f"idfer: attributes by the CLIP {spec}; ")
    for name, levels in table.levels.items():
        mean = np.nanmean(table.posterior(name).max(axis=1))
        assert f"{name} {mean:.2f} (chance {1 / len(levels):.2f})" in said


@pytest.mark.parametrize("damaged", ["visual.proj", "text_projection"])
def test_a_clip_that_gives_no_numbers_is_refused(tmp_path, damaged):
    weights = tiny_clip.weights()
    weights[damaged][0] = float("nan")
    folder = tiny_clip.make(tmp_path / "clip")
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "open_clip_model.safetensors")
    with pytest.raises(IdferError, match=r"clip: its embeddings are not numbers"):
        retrieve(write_faces(tmp_path, 2), f"local-dir:{folder}", device="cpu", progress=False)


def test_killed_in_the_middle_the_same_command_gives_the_uninterrupted_table(tmp_path, spec, monkeypatch):
    count, batch = 240, 4
    write_faces(tmp_path / "faces", count)
    (tmp_path / "faces" / "77.png").write_bytes(b"")
    command = [
        sys.executable, "-c",
        "import sys, torch; torch.set_num_threads(1); from idfer import retrieve; "
        "retrieve(sys.argv[1], sys.argv[2], out=sys.argv[3], batch_size=4, device='cpu', progress=False)",
        str(tmp_path / "faces"), spec,
    ]  # fmt: skip

    def environment(name):
        return {**os.environ, "IDFER_CACHE": str(tmp_path / name)}

    killed = subprocess.Popen([*command, str(tmp_path / "killed.parquet")], env=environment("killed"))
    try:
        while killed.poll() is None and not (0 < _count(tmp_path / "killed") < count // 2):
            time.sleep(0.002)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert killed.returncode == -signal.SIGKILL
    done = _count(tmp_path / "killed")
    assert 0 < done < count - 1
    assert done % batch in (0, batch - 1)  # whole batches; the one with the empty file has an image less
    assert not (tmp_path / "killed.parquet").exists()

    encoded = count_encoded(monkeypatch)
    monkeypatch.setenv("IDFER_CACHE", str(tmp_path / "killed"))
    resumed = retrieve(tmp_path / "faces", spec, out=tmp_path / "killed.parquet", batch_size=4, device="cpu",
                       progress=False)  # fmt: skip
    assert sum(encoded) == count - 1 - done  # nothing twice
    monkeypatch.setenv("IDFER_CACHE", str(tmp_path / "whole"))
    whole = retrieve(tmp_path / "faces", spec, out=tmp_path / "whole.parquet", batch_size=4, device="cpu",
                     progress=False)  # fmt: skip
    same(resumed, whole)
    assert (tmp_path / "killed.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def _count(folder):
    try:
        return cached_rows(folder)
    except (ValueError, sqlite3.OperationalError):  # not made yet
        return 0


def test_an_output_that_is_somebody_elses_file_is_refused_before_any_work(tmp_path, spec):
    faces = write_faces(tmp_path, 4)
    faces.write(tmp_path / "manifest.parquet")
    before = (tmp_path / "manifest.parquet").read_bytes()
    os.mkfifo(tmp_path / "pipe.parquet")
    for out, reason in (
        ("manifest.parquet", "is no attribute table and would be replaced"),
        ("table.csv", "end its name with .parquet"),
        ("pipe.parquet", "is no regular file"),
        ("", "end its name with .parquet"),
    ):
        with pytest.raises(UsageError, match=reason):
            retrieve(faces, "nobody/nothing", out=tmp_path / out if out else "", progress=False)
    assert (tmp_path / "manifest.parquet").read_bytes() == before
    table = retrieve(faces, spec, out=tmp_path / "new.parquet", device="cpu", progress=False)
    again = retrieve(faces, spec, out=tmp_path / "new.parquet", device="cpu", progress=False)
    assert len(again) == len(table)  # an earlier table may be replaced
