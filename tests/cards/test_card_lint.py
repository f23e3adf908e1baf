import pytest

from cards.lint import find_private, lint_card, read_front_matter

GOOD = "---\nlicense: apache-2.0\nlanguage: [en]\n---\n\n# Title\n"


def test_a_good_card_has_no_problems():
    assert lint_card(GOOD) == []
    assert lint_card(GOOD.replace("\n", "\r\n")) == []


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("language: en", "license: missing"),
        ("license: gpl-3.0-or-later", "not an identifier"),
        ("license: other", "license_link"),
        ("license: mit\nlanguage: no", "quote it"),
        ("license: mit\nlanguage: [English]", "ISO 639"),
        ("license: mit\nsize_categories: [lots]", "size_categories"),
        ("license: mit\nbase_model: ../pruned", "namespace/name"),
        ("license: mit\nbase_model: a/b\nbase_model_relation: pruned", "base_model_relation"),
        ("license: mit\nbase_model_relation: adapter", "without base_model"),
        ("license: mit\nconfigs: [{data_files: x}]", "config_name"),
        ("license: mit\nconfigs: [{config_name: a, default: true}, {config_name: b, default: true}]", "default"),
        ("license: mit\ntags: [1]", "tags"),
        ("license: [mit", "not valid YAML"),
        ("just text", "expected a mapping"),
    ],
)
def test_front_matter_problems(header, problem):
    problems = lint_card(f"---\n{header}\n---\n")
    assert any(problem in line for line in problems), problems


def test_text_before_the_front_matter_is_a_problem():
    assert "none at the very top" in lint_card("\n" + GOOD)[0]
    assert read_front_matter(GOOD)[0]["license"] == "apache-2.0"


@pytest.mark.parametrize("word", ["[More Information Needed]", "username/model", "TODO", "{{ title }}", "your-name"])
def test_placeholders_are_found(word):
    assert any("placeholder" in line for line in lint_card(GOOD + word))


# Written in pieces, so that this file itself holds none of them.
@pytest.mark.parametrize(
    "text",
    [
        "see /ho" + "me/anna/x",
        "/Us" + "ers/anna",
        "C:" + "\\Users\\anna",
        "fi" + "le:///etc",
        "/tm" + "p/demo/x",
        "~/eeg",
    ]
    + ["hf" + "_" + "a" * 34, "gh" + "p_" + "b" * 36, "sk-" + "c" * 40, "-----BEGIN RSA PRIVATE" + " KEY-----"],
)
def test_private_text_is_found(text):
    assert find_private(text)
    assert any("text: holds" in line for line in lint_card(GOOD + text))


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/media/anna",
        "data/train.parquet",
        "../media/x",
        "lab/data/x",
        "and/or",
        "1/2",
        "hf_hub",
        "~50 %",
    ],
)
def test_harmless_text_is_not(text):
    assert find_private(text) == []
