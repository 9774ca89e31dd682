import re

import pytest
import torch

from idfer.attributes.vocabulary import Vocabulary
from idfer.synthetic.captions import LEVELS, annotate, captions, contrasts, levels, truth
from idfer.synthetic.factors import level, sample

# The lineage's level names for the levels of the factors.
LINEAGE = {
    "women": "feminine", "men": "masculine", "white": "light", "yellow": "medium", "black": "dark",
    "middle-age": "middle-aged", "old": "older",
}  # fmt: skip


@pytest.fixture(scope="module")
def faces():
    return sample(1500, 1, seed=11)


@pytest.fixture(scope="module")
def written(faces):
    return annotate(faces, seed=2)


def test_one_caption_per_face_and_the_seed_decides(faces):
    assert len(captions(faces, 1)) == len(faces)
    assert captions(faces, 1) == captions(faces, 1)
    assert captions(faces, 1) != captions(faces, 2)


def test_what_is_asserted_is_true_of_the_face(faces, written):
    for name in ("gender", "age", "skin", "glasses", "facial_hair"):
        found = level(name, getattr(faces, name))
        said = [
            (row, caption.asserted[name]) for row, caption in enumerate(written) if name in caption.asserted
        ]
        assert len(said) > 100
        assert all(found[row] == value for row, value in said)
    assert truth(written, faces).diagonal().all()


def test_truth_is_an_explicit_comparison_for_each_pair(faces, written):
    few, some = faces.rows(slice(0, 40)), written[30:60]
    known = levels(few)
    expected = [[all(known[n][i] == v for n, v in c.asserted.items()) for c in some] for i in range(40)]
    assert truth(some, few).tolist() == expected
    assert 0.05 < truth(written[:200], faces.rows(slice(0, 200))).float().mean() < 0.5  # many true pairs


def test_sentences_say_what_is_asserted_and_nothing_else(written):
    mentions = {
        ("gender", "feminine"): r"\bfeminine|\bwomen\b", ("gender", "masculine"): r"\bmasculine|\bmen\b",
        ("age", "young"): r"\byoung\b", ("age", "middle-aged"): r"\bmiddle-aged?\b",
        ("age", "older"): r"\bold(er)?\b", ("skin", "dark"): r"dark skin|is dark|black skin",
        ("glasses", "round"): "round glasses", ("glasses", "none"): "no glasses",
        ("facial_hair", "beard"): "a beard", ("hair_colour", "red"): "red hair",
        ("hair_style", "bald"): "bald", ("valence", "unpleasant"): "unpleasant",
        ("view", "side"): r"\bside\b",
    }  # fmt: skip
    for (name, value), pattern in mentions.items():
        for caption in written:
            assert (re.search(pattern, caption.text) is not None) == (caption.asserted.get(name) == value), (
                caption
            )


def test_sentences_are_grammatical(written):
    for caption in written:
        text = caption.text
        assert not re.search(r"\{|\}|  |\ban? (a|an)\b| ,|^\s|\s$", text), text
        for article, word in re.findall(r"\b(an?) (\w+)", text):
            assert (article == "an") == (word[0] in "aeiou") or text == "a photo of a women", text


def test_every_prompt_of_the_presets_is_among_the_captions():
    said = {text for seed in range(3) for text in captions(sample(1500, 1, seed=20 + seed), seed)}
    for preset in ("default", "lineage"):
        vocabulary = Vocabulary.load(preset)
        for name, of in vocabulary.levels.items():
            for level_ in of:
                assert set(vocabulary.prompts(name, level_)) <= said, (preset, name, level_)


def test_a_lineage_prompt_asserts_our_level(faces, written):
    vocabulary = Vocabulary.load("lineage")
    meant = {p: (n, LINEAGE.get(of, of)) for n, ls in vocabulary.levels.items() for of in ls
             for p in vocabulary.prompts(n, of)}  # fmt: skip
    found = [caption for caption in written if caption.text in meant]
    assert len(found) > 100
    assert all(dict(caption.asserted) == dict([meant[caption.text]]) for caption in found)


def test_contrasts_differ_in_one_level_and_just_one_is_true(faces):
    for seed in range(20):
        groups = contrasts(seed)
        assert {name: tuple(c.asserted[name] for c in group) for name, group in groups.items()} == LEVELS
        for name, group in groups.items():
            assert len({caption.text for caption in group}) == len(group)
            right = truth(group, faces).sum(dim=1)
            assert torch.equal(right == 1, torch.from_numpy(levels(faces)[name] != ""))
            assert right.max() == 1


def test_captions_fit_the_context_of_the_builtin_clip_a_token_per_word():
    import open_clip

    from idfer.attributes.clip import BUILTIN

    tokenizer = open_clip.get_tokenizer(f"local-dir:{BUILTIN}", bpe_path=str(BUILTIN / "merges.txt.gz"))
    texts = captions(sample(3000, 1, seed=5), 5)
    assert max(len(tokenizer.encode(text)) for text in texts) + 2 <= tokenizer.context_length  # start and end
    for word in {word for text in texts for word in re.findall(r"[a-z]+", text)}:
        assert len(tokenizer.encode(word)) == 1, word
