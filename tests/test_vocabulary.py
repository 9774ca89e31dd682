import subprocess
import sys
from itertools import pairwise

import pytest

from idfer.attributes.vocabulary import Vocabulary, presets
from idfer.errors import IdferError, UsageError


def write(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


GOOD = """
name: mine
attributes:
  glasses:
    templates: ["a person {}", "a face {}"]
    levels:
      without: without glasses
      with: [with glasses, wearing glasses]
"""


def test_prompts_fill_every_template_with_every_word(tmp_path):
    vocabulary = Vocabulary.load(write(tmp_path, GOOD))
    assert vocabulary.name == "mine"
    assert vocabulary.levels == {"glasses": ["without", "with"]}
    assert vocabulary.prompts("glasses", "without") == ["a person without glasses", "a face without glasses"]
    assert sorted(vocabulary.prompts("glasses", "with")) == [
        "a face wearing glasses", "a face with glasses", "a person wearing glasses", "a person with glasses",
    ]  # fmt: skip


def test_lineage_preset_is_verbatim():
    lineage = Vocabulary.load("lineage")
    said = {a: [p for level in of for p in lineage.prompts(a, level)] for a, of in lineage.levels.items()}
    assert said == {
        "gender": ["a photo of a women", "a photo of a men"],
        "skin": [
            "a photo with white skin color", "a photo with yellow skin color",
            "a photo with black skin color",
        ],
        "age": [
            "a facial photo of in one's young group", "a facial photo of in one's middle-age group",
            "a facial photo of in one's old group",
        ],
        "view": ["a facial photo facing forward", "a facial photo facing side"],
    }  # fmt: skip


def test_default_preset_has_the_levels_that_the_faces_are_labelled_with():
    assert Vocabulary.load("default").levels == {
        "gender": ["feminine", "masculine"],
        "age": ["young", "middle-aged", "older"],
        "skin": ["light", "medium", "dark"],
    }
    assert presets() == ["default", "lineage"]


def test_fingerprint_follows_the_words_and_nothing_else(tmp_path):
    first = Vocabulary.load(write(tmp_path, GOOD)).fingerprint
    renamed = Vocabulary.load(write(tmp_path, GOOD.replace("name: mine", "name: other"))).fingerprint
    reworded = Vocabulary.load(write(tmp_path, GOOD.replace("wearing", "in"))).fingerprint
    relevelled = Vocabulary.load(write(tmp_path, GOOD.replace("without:", "none:"))).fingerprint
    assert first == renamed
    assert len({first, reworded, relevelled}) == 3


HEAD = "attributes:\n  age:\n"
LEVELS = "    levels: {young: [young], old: [old]}\n"
TEMPLATES = "    templates: ['a {} face']\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "should be a mapping"),
        ("just words", "should be a mapping"),
        ("name: x", "attributes should be a mapping"),
        ("attributes: {}", "attributes is empty"),
        ("attributes:\n  age:\n", "attribute 'age' is empty"),
        (HEAD + TEMPLATES, "attribute 'age': levels should be a mapping"),
        (HEAD + LEVELS, "attribute 'age': templates are empty"),
        (HEAD + TEMPLATES + "    levels: {young: [young]}", "attribute 'age' has 1 level;"),
        (HEAD + TEMPLATES + "    levels: {young: [], old: [old]}", "level 'young' is empty"),
        (HEAD + TEMPLATES + "    levels: {young: [''], old: [old]}", "level 'young': '' is not a text"),
        (HEAD + TEMPLATES + "    levels: {no: [without], yes: [with]}", "level False is not text"),
        (HEAD + TEMPLATES + "    levels: {young: [3], old: [old]}", "level 'young': 3 is not a text"),
        (HEAD + "    templates: ['a face']\n" + LEVELS, "template 'a face' has no {}"),
        (HEAD + "    template: ['a {} face']\n" + LEVELS, "unknown key 'template'"),
        (
            HEAD + TEMPLATES + "    levels:\n      old: a\n      old: b\n",
            "line 6: not a YAML vocabulary: 'old' is there",
        ),
        (HEAD + TEMPLATES + LEVELS + "  age:\n" + TEMPLATES + LEVELS, "'age' is there twice"),
        ("attributes:\n  a/b:\n" + TEMPLATES + LEVELS, "attribute 'a/b' clashes"),
        ("attributes:\n  embedding:\n" + TEMPLATES + LEVELS, "attribute 'embedding' clashes"),
        ("attributes:\n  1:\n" + TEMPLATES + LEVELS, "attribute 1 is not a name"),
        ("attributes: [", "not a YAML vocabulary"),
        ("name: 2001-99-99", "not a YAML vocabulary"),
        ("name: " + "9" * 5000, "not a YAML vocabulary"),
        ("name: " + "[" * 5000, "not a YAML vocabulary"),
    ],
)
def test_a_broken_file_is_one_line_that_names_file_and_place(tmp_path, text, said):
    path = write(tmp_path, text)
    with pytest.raises(IdferError) as caught:
        Vocabulary.load(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("place", ["templates", "name"])
def test_aliases_that_unfold_without_end_are_not_unfolded(tmp_path, place):
    names = "abcdefghijklmnopqrstuvwxyz"
    lists = ["&a [x, x, x, x, x, x, x, x, x]"]
    lists += [f"&{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise(names)]  # 9 ** 26 times x
    bomb = "[" + ", ".join(lists) + "]\n"
    text = "name: " + bomb if place == "name" else ""
    text += HEAD + ("    templates: " + bomb if place == "templates" else TEMPLATES) + LEVELS
    with pytest.raises(IdferError, match="a list"):
        Vocabulary.load(write(tmp_path, text))


def test_a_name_that_no_file_has_is_a_usage_error():
    for name in ("x" * 5000, "nul\0"):
        with pytest.raises(UsageError, match="unknown vocabulary"):
            Vocabulary.load(name)


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "photo.yaml"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(IdferError, match=r"photo\.yaml: is not UTF-8"):
        Vocabulary.load(path)


def test_an_unknown_preset_is_a_usage_error_with_a_suggestion():
    with pytest.raises(UsageError, match="Did you mean 'lineage'"):
        Vocabulary.load("linage")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(IdferError, match=r"absent\.yaml: no such vocabulary file"):
        Vocabulary.load(tmp_path / "absent.yaml")


def test_unknown_attribute_and_level_are_usage_errors():
    vocabulary = Vocabulary.load("default")
    with pytest.raises(UsageError, match="Did you mean 'gender'"):
        vocabulary.prompts("gendr", "feminine")
    with pytest.raises(UsageError, match="unknown level of age 'old'"):
        vocabulary.prompts("age", "old")


def test_a_vocabulary_needs_no_torch():
    code = (
        "import sys; from idfer.attributes.vocabulary import Vocabulary; Vocabulary.load('default'); "
        "from idfer.attributes.table import retrieve; "
        "print([m for m in ('torch', 'open_clip', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
