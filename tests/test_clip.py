import json
import pickle
import shutil

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

import tiny_clip
from idfer.attributes import clip as clips
from idfer.attributes.clip import load_clip, posteriors
from idfer.attributes.vocabulary import Vocabulary
from idfer.errors import IdferError, UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_clip.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def clip(folder):
    return load_clip(f"local-dir:{folder}", "cpu")


@pytest.fixture(scope="module")
def architecture(tmp_path_factory):
    """The tiny model as one of open_clip's named architectures."""
    path = tmp_path_factory.mktemp("configs") / "idfer-test-tiny.json"
    path.write_text(json.dumps(tiny_clip.MODEL))
    open_clip.add_model_config(path)
    return path.stem


def pictures(count, height=40, width=33):
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_embeddings_are_what_open_clip_computes(folder, clip):
    from PIL import Image

    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    images, texts = pictures(3), ["a photo of a women", "a photo of a men"]
    with torch.no_grad():
        seen = model.encode_image(
            torch.stack([preprocess(Image.fromarray(i)) for i in images]), normalize=True
        )
        read = model.encode_text(tokenizer(texts), normalize=True)
    np.testing.assert_allclose(clip.encode_images(images), seen.numpy(), atol=1e-6)
    np.testing.assert_allclose(clip.encode_texts(texts), read.numpy(), atol=1e-6)


def test_pixels_are_normalised_with_the_models_own_mean_and_std(clip):
    grey = np.full((32, 32, 3), 51, np.uint8)
    expected = (51 / 255 - np.array(tiny_clip.MEAN)) / np.array(tiny_clip.STD)
    np.testing.assert_allclose(clip.preprocess(grey).mean(dim=(1, 2)), expected, atol=1e-6)


def test_a_single_image_is_a_batch_of_one(clip):
    images = pictures(4)
    together = clip.encode_images(images)
    assert clip.encode_images(images[:1]).shape == (1, clip.dim)
    np.testing.assert_allclose(np.concatenate([clip.encode_images([i]) for i in images]), together, atol=1e-6)
    assert clip.encode_images([]).shape == (0, clip.dim)


def test_images_of_different_sizes_go_into_one_batch(clip):
    assert clip.encode_images([pictures(1)[0], pictures(1, 64, 64)[0]]).shape == (2, clip.dim)


def test_a_box_shows_the_face_with_its_margin_and_not_the_rest(clip):
    image = np.zeros((100, 100, 3), np.uint8)
    image[30:70, 30:70] = 255  # box 40..60 and a margin of a quarter on each side: 35..65
    inside = clip.preprocess(image, (40, 40, 20, 20))
    white = clip.preprocess(np.full((32, 32, 3), 255, np.uint8))
    torch.testing.assert_close(inside, white)
    with pytest.raises(IdferError, match="does not fit"):
        clip.preprocess(image, (500, 500, 20, 20))


def test_levels_are_unit_means_of_their_prompts_side_by_side(clip):
    vocabulary = Vocabulary.load("default")
    text = clip.encode_vocabulary(vocabulary)
    prompts = clip.encode_texts(vocabulary.prompts("age", "older"))
    mean = prompts.mean(axis=0)
    assert text.shape == (8, clip.dim)
    np.testing.assert_allclose(text[4], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, atol=1e-6)


def test_the_lineage_preset_gives_its_prompts_embeddings_themselves(clip):
    text = clip.encode_vocabulary(Vocabulary.load("lineage"))
    np.testing.assert_allclose(text[0], clip.encode_texts(["a photo of a women"])[0], atol=1e-6)


def test_posteriors_are_a_softmax_per_attribute():
    rng = np.random.default_rng(0)
    embedding, text = rng.normal(size=(6, 4)), rng.normal(size=(5, 4))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    given = posteriors(embedding, text, [2, 3], 7.0)
    for row in range(6):
        power = [np.exp(7.0 * embedding[row] @ text[k]) for k in range(5)]
        expected = [p / sum(power[:2]) for p in power[:2]] + [p / sum(power[2:]) for p in power[2:]]
        np.testing.assert_allclose(given[row], expected, rtol=1e-5)
    assert np.isfinite(posteriors(np.eye(4), 50 * np.eye(4), [4], 100.0)).all()  # no overflow


def test_the_scale_is_the_models_own(clip):
    assert clip.scale == pytest.approx(1 / 0.07, rel=1e-5)  # where CLIP's training starts


def test_a_vocabulary_longer_than_the_context_is_refused(clip):
    long = {
        "attributes": {
            "age": {"templates": ["word " * 30 + "{}"], "levels": {"young": "young", "old": "old"}}
        }
    }
    with pytest.raises(IdferError, match="does not tell") as caught:
        clip.encode_vocabulary(Vocabulary.from_dict(long))
    assert "20 tokens" in str(caught.value)


def test_checkpoint_files_load_as_the_folder_does(architecture, folder, clip, tmp_path):
    plain = tmp_path / "weights.pt"
    torch.save({"state_dict": tiny_clip.weights()}, plain)
    texts = ["a face"]
    for file in (folder / "open_clip_model.safetensors", plain):
        other = load_clip(f"{architecture}/{file}", "cpu")
        np.testing.assert_allclose(other.encode_texts(texts), clip.encode_texts(texts), atol=1e-6)
        assert other.fingerprint != clip.fingerprint  # same weights, but CLIP's own mean and std


def test_the_fingerprint_follows_weights_and_preprocessing(folder, clip, tmp_path):
    same = load_clip(f"local-dir:{shutil.copytree(folder, tmp_path / 'copy')}", "cpu")
    trained = load_clip(f"local-dir:{tiny_clip.make(tmp_path / 'other', seed=1)}", "cpu")
    shutil.copytree(folder, tmp_path / "grey")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["mean"] = [0.5, 0.5, 0.5]
    (tmp_path / "grey" / "open_clip_config.json").write_text(json.dumps(config))
    grey = load_clip(f"local-dir:{tmp_path / 'grey'}", "cpu")
    assert same.fingerprint == clip.fingerprint
    assert len({clip.fingerprint, trained.fingerprint, grey.fingerprint}) == 3


class Bomb:
    def __reduce__(self):
        return (print, ("the checkpoint ran code",))


def test_a_pickled_checkpoint_is_refused_and_never_run(architecture, tmp_path, capfd):
    file = tmp_path / "evil.pt"
    file.write_bytes(pickle.dumps({"state_dict": Bomb()}))
    with pytest.raises(IdferError, match=r"evil\.pt: cannot be loaded"):
        load_clip(f"{architecture}/{file}")
    torch.save({"state_dict": Bomb()}, file)
    with pytest.raises(IdferError, match=r"evil\.pt: cannot be loaded"):
        load_clip(f"{architecture}/{file}")
    assert "ran code" not in capfd.readouterr().out


@pytest.mark.parametrize("damage", ["cut", "empty", "other model"])
def test_damaged_weights_are_one_line(architecture, folder, tmp_path, damage):
    file = tmp_path / "weights.safetensors"
    whole = (folder / "open_clip_model.safetensors").read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    if damage == "other model":
        wider = tiny_clip.weights() | {"visual.proj": torch.zeros(32, 24)}
        save_file({k: v.contiguous() for k, v in wider.items()}, file)
    with pytest.raises(IdferError, match=r"weights\.safetensors: cannot be loaded") as caught:
        load_clip(f"{architecture}/{file}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ViT-B16/openai", "Did you mean 'ViT-B-16'"),
        ("ViT-B-16/opnai", "Did you mean 'openai'"),
        ("ViT-B-16", "names no weights; write MODEL/TAG or MODEL/FILE, e.g. ViT-B-16/openai"),
        ("hf-hub:", "names no repository"),
        ("", "unknown CLIP model ''"),
    ],
)
def test_a_wrong_name_is_a_usage_error(spec, said):
    with pytest.raises(UsageError) as caught:
        load_clip(spec)
    assert said in str(caught.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(IdferError, match=r"/nowhere/w\.safetensors: no such checkpoint"):
        load_clip("ViT-B-16//nowhere/w.safetensors")
    with pytest.raises(IdferError, match="no such folder"):
        load_clip(f"local-dir:{tmp_path / 'absent'}")
    with pytest.raises(IdferError, match=r"open_clip_config\.json: no such file"):
        load_clip(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text("{")
    with pytest.raises(IdferError, match="cannot be read as JSON"):
        load_clip(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text("[" * 100_000)
    with pytest.raises(IdferError, match="cannot be read as JSON"):
        load_clip(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(IdferError, match="has no 'model_cfg'"):
        load_clip(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": tiny_clip.MODEL}))
    with pytest.raises(IdferError, match="holds no weights"):  # and no random model in their place
        load_clip(f"local-dir:{tmp_path}")


@pytest.mark.parametrize("content", [5, {"text_cfg": 5}, {"text_cfg": {"tokenizer_kwargs": []}}])
def test_a_configuration_of_another_kind_is_one_line(folder, tmp_path, content):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "open_clip_config.json").write_text(json.dumps({"model_cfg": content}))
    with pytest.raises(IdferError, match=r"copy: cannot be loaded \(") as caught:
        load_clip(f"local-dir:{copy}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["ViT-B-16/openai", "hf-hub:timm/vit_base_patch16_clip_224.openai"])
def test_offline_a_model_that_is_not_cached_is_refused_at_once(spec, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(IdferError, match="not in the Hugging Face cache, and downloads are off"):
        load_clip(spec)
    assert constants.HF_HUB_OFFLINE is False  # other users of the hub keep their setting


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("IDFER_OFFLINE")
    monkeypatch.setattr(clips, "hub_offline", lambda value: _offline())  # the hub refuses in both attempts
    with _offline(), pytest.raises(IdferError, match=r"openai: cannot be downloaded \(.*check the name"):
        load_clip("ViT-B-16/openai")


def _offline():
    from unittest.mock import patch

    from huggingface_hub import constants

    return patch.object(constants, "HF_HUB_OFFLINE", True)


def test_a_damaged_builtin_model_is_refused(tmp_path, monkeypatch):
    copy = shutil.copytree(clips.BUILTIN, tmp_path / "builtin")
    weights = copy / "open_clip_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    monkeypatch.setattr(clips, "BUILTIN", copy)
    with pytest.raises(IdferError, match=r"open_clip_model\.safetensors: its checksum differs"):
        load_clip("builtin")
    weights.unlink()
    with pytest.raises(IdferError, match="builtin CLIP is not complete"):
        load_clip("builtin")


def test_the_builtin_model_is_small_and_its_checksums_cover_it():
    files = {path.name: path.stat().st_size for path in clips.BUILTIN.iterdir()}
    listed = (clips.BUILTIN / "SHA256").read_text().split()[1::2]
    assert sum(files.values()) < 4_000_000
    assert sorted(listed) == sorted(set(files) - {"SHA256", "metrics.json"})
