import pytest
from finished import finish_chain, finish_evaluation, finish_space

from cards import vocabulary
from cards.lint import find_private, lint_card, read_front_matter
from cards.names import CardNames
from cards.render import make_card
from cards.rules import list_languages, list_words

NOTICE = "Not a medical device."
GOOD = f"---\nlicense: apache-2.0\nlanguage: [en]\n---\n\n# Title\n\n{NOTICE}\n"
PASSED = [{"reader": "language model", "protocol": "unseen subjects", "reads": "eeg"}]


def test_a_good_card_has_no_problems():
    assert lint_card(GOOD) == []
    assert lint_card(GOOD.replace("\n", "\r\n")) == []


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("language: [en]", "license: missing"),
        ("license: gpl-3.0-or-later", "not an identifier"),
        ("license: other", "license_link"),
        ("license: other\nlicense_name: my terms\nlicense_link: https://x.org", "license_name"),
        ("license: other\nlicense_name: my-terms\nlicense_link: TERMS", "license_link: 'TERMS'"),
        ("license: mit\nlanguage: no", "quote it"),
        ("license: mit\nlanguage: [English]", "ISO 639"),
        ("license: mit\nlanguage: [xx]", "ISO 639"),
        ("license: mit\nlanguage: [qqq]", "ISO 639"),
        ("license: mit\nlanguage: en", "language: must be a list"),
        ("license: mit\nsize_categories: [lots]", "size_categories"),
        ("license: mit\nlibary_name: peft", "libary_name: unknown key"),
        ("license: mit\npipeline_tag: eeg", "pipeline_tag"),
        ("license: mit\nbase_model: ../pruned", "namespace/name"),
        ("license: mit\nbase_model: a/b", "the Hub would guess"),
        ("license: mit\nbase_model: a/b\nbase_model_relation: pruned", "base_model_relation"),
        ("license: mit\nbase_model_relation: adapter", "without base_model"),
        ("license: mit\nlibrary_name: gguf\nbase_model: a/b\nbase_model_relation: adapter", "does not fit"),
        ("license: mit\nbase_model: a/b\nbase_model_relation: adapter\ntags: ['base_model:adapter:a/c']", "tags: one"),
        ("license: mit\ntags: [1]", "tags"),
        ("license: mit\ntags: [a, a]", "given twice"),
        ("license: mit\nmodel-index: [{name: x}]", "list of results"),
        ("license: mit\nlicense: mit", "given twice"),
        ("license: [mit", "not valid YAML"),
        ("license: mit\nlanguage: [[en]]", "ISO 639"),
        ("license: &a mit\nlicense_name: *a", "aliases are not accepted"),
        ("license: mit\n? [a, b]\n: 1", "not valid YAML"),
        ("license: mit\ndate: 2026-13-45", "not valid YAML"),
        ("tags: " + "[" * 2000, "not valid YAML"),
        ("just text", "expected a mapping"),
    ],
)
def test_front_matter_problems(header, problem):
    problems = lint_card(f"---\n{header}\n---\n\n# Title\n\n{NOTICE}\n", files=["README.md"])
    assert any(problem in line for line in problems), problems


@pytest.mark.parametrize(
    ("configs", "problem"),
    [
        ("[{data_files: x}]", "config_name"),
        ("[{config_name: a, data_files: x, default: true}, {config_name: b, data_files: x, default: true}]", "default"),
        ("[{config_name: a, data_files: x}, {config_name: a, data_files: x}]", "same config_name"),
        ("[{config_name: a}]", "neither data_files"),
        ("[{config_name: a, data_files: [{split: train}]}]", "split and path"),
        ("[{config_name: a, data_files: [{split: s, path: x}, {split: s, path: x}]}]", "given twice"),
        ("[{config_name: a, data_files: /x}]", "leads out"),
        ("[{config_name: a, data_files: ../x}]", "leads out"),
        ("[{config_name: a, data_files: '*.csv'}]", "matches no file"),
        ("[{config_name: a, data_files: x}]\ndataset_info: {config_name: b}", "not among the configs"),
        ("{a: b}", "must be a list"),
    ],
)
def test_configs_lead_to_files(configs, problem):
    card = f"---\nlicense: mit\nconfigs: {configs}\n---\n\n# Title\n\n{NOTICE}\n"
    problems = lint_card(card, "dataset", files=["x", "data/y.parquet"])
    assert any(problem in line for line in problems), problems


def test_text_before_the_front_matter_is_a_problem():
    assert "none at the very top" in lint_card("\n" + GOOD)[0]
    assert "none at the very top" in lint_card("\ufeff" + GOOD)[0]
    assert read_front_matter(GOOD)[0]["license"] == "apache-2.0"


@pytest.mark.parametrize("word", ["[More Information Needed]", "username/model", "TODO", "{{ title }}", "your-name"])
def test_placeholders_are_found(word):
    assert any("placeholder" in line for line in lint_card(GOOD + word))


@pytest.mark.parametrize(
    ("sentence", "supported", "alone"),
    [
        ("It reads the EEG.", True, False),
        ("The model decodes emotions.", True, False),
        ("An EEG-driven model.", True, False),
        ("It is not shown to read the EEG.", True, True),
        ("Whether it detects emotions was measured.", True, True),
        ("State-of-the-art accuracy.", False, False),
        ("It outperforms all others.", False, False),
        ("Clinically validated.", False, False),
        ("It diagnoses depression.", False, False),
        ("It never diagnoses anything.", True, True),
        ("Not perfect. It reads the EEG.", True, False),
    ],
)
def test_a_claim_needs_controls_that_passed(sentence, supported, alone):
    assert (lint_card(GOOD + sentence + "\n", verdicts=PASSED) == []) is supported
    assert (lint_card(GOOD + sentence + "\n") == []) is alone
    for reads in ("film", "nothing"):
        less = [PASSED[0] | {"reads": reads}]
        assert (lint_card(GOOD + sentence + "\n", verdicts=less) == []) is alone
    met = [PASSED[0] | {"protocol": "subjects seen in training"}]
    assert (lint_card(GOOD + sentence + "\n", verdicts=met) == []) is alone


# Written in pieces, so that this file itself holds none of them.
@pytest.mark.parametrize(
    "text",
    [
        "see /ho" + "me/anna/x",
        "path:/ho" + "me/anna/x",
        "-/ho" + "me/anna",
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
        "https://example.org:80/ho" + "me/anna",
        "https://example.org/lab/-/data/anna",
        "https://example.org/lab-/data/anna",
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


def test_writer_and_linter_know_the_same_words_from_different_places():
    assert list_words("licences") == vocabulary.LICENCES
    assert set(vocabulary.SIZES) == list_words("sizes")
    assert list_words("tasks") >= vocabulary.TASKS
    assert list_languages() >= vocabulary.LANGUAGES
    assert len(list_languages()) > 8000


#: Kind -> (what stands in a finished card, what a slip of hand makes of it). Each has to be found.
SLIPS = {
    "dataset": [
        ("license: other", "license: my-own"),
        ("license_name: faced-terms", "license_name: ''"),
        ("license_link: https", "license_link: ftp"),
        ("- en\n", "- EN\n"),
        ("n<1K", "small"),
        ("- text-generation", "- chat-generation"),
        ("- multi-class-classification", "- nine-classes"),
        ("- expert-generated", "- experts"),
        ("task_categories:", "task_category:"),
        ("path: data/train-00000-of-00001-abc.parquet", "path: data/train-*.csv"),
        ("path: data/", "path: ../data/"),
        ("config_name: faced-emotion-qa", "name: faced-emotion-qa"),
        ("extra_gated_fields:", "extra_gated_field:"),
        ("---\nlicense", "license"),
        ("pretty_name: A corpus", "pretty_name: [A corpus"),
        ("assets/card-labels.png", "assets/card-label.png"),
        ("![Rows", "![](assets/card-labels.png)![Rows"),
        ("(assets/card-labels.png)", "(https://example.org/x.png)"),
        ("Not a medical device.", ""),
        ("| train | 1 | 28 |", "| train | 1 |"),
        ("</details>", ""),
        ("## Results", "# Results"),
    ],
    "gguf": [
        ("base_model_relation: quantized", "base_model_relation: pruned"),
        ("base_model_relation: quantized", "base_model_relation: finetune"),
        ("base_model: lab/eeg-merged", "base_model: ./merged"),
        ("library_name: gguf", "library_name: ggml"),
        ("pipeline_tag: text-generation", "pipeline_tag: [text-generation]"),
        ("datasets:\n- lab", "datasets: lab"),
        ("type: balanced_accuracy", "kind: balanced_accuracy"),
        ("value: 0.2345", "value: .nan"),
        ("split: test\n", "split: test\n      revision: x\n    source: {name: us}\n"),
        ("| 224 trials |", "|  |"),
        ("```bash\nhf", "hf"),
        ("lab/eeg-copilot-GGUF", "username/eeg-copilot-GGUF"),
        ("## Licence", "It beats the state of the art.\n\n## Licence"),
        ("## Licence", "Licence: see [here](LICENSE.md).\n\n## Licence"),
        ("## Licence", "Made in /ho" + "me/anna.\n\n## Licence"),
        ("## Licence", "word " * 5000 + "\n\n## Licence"),
        ("## Licence", "Best score: None\n\n## Licence"),
        ("## Licence", "See [us](http://example.org).\n\n## Licence"),
    ],
    "space": [
        ("sdk: gradio", "sdk: streamlit"),
        ("sdk_version: 6.31.0", "sdk_version: newest"),
        ("sdk_version: 6.31.0\n", ""),
        ("app_file: app.py", "app_file: main.py"),
        ("colorFrom: blue", "colorFrom: teal"),
        ("title: EEG", "titel: EEG"),
        ("models:\n- lab", "models:\n- lab/lab"),
        ("license: apache-2.0", "license: apache-2.0\nshort_description: " + "x" * 61),
        ("license: apache-2.0", "license: apache-2.0\npython_version: 3.10"),
    ],
}


@pytest.fixture(scope="module")
def finished_cards(tmp_path_factory):
    root = tmp_path_factory.mktemp("chain")
    places = finish_chain(root)
    evaluation = finish_evaluation(root, places, {"language model Q8_0": True})
    places["space"] = finish_space(root / "space")
    names = {
        "dataset": ("corpus", CardNames("lab/eeg-corpus"), []),
        "gguf": ("gguf", CardNames("lab/eeg-copilot-GGUF", "lab/eeg-merged", "lab/eeg-corpus"), [evaluation]),
        "space": ("space", CardNames("lab/eeg-demo", "lab/eeg-copilot-GGUF"), []),
    }
    made = {}
    for kind, (place, of, evaluations) in names.items():
        files = [path.relative_to(places[place]).as_posix() for path in places[place].rglob("*") if path.is_file()]
        made[kind] = (make_card(places[place], of, evaluations), files)
    return made


@pytest.mark.parametrize("kind", SLIPS)
def test_finished_cards_are_clean(finished_cards, kind):
    card, files = finished_cards[kind]
    assert card.lint(files) == []


@pytest.mark.parametrize(("kind", "slip"), [(kind, slip) for kind, slips in SLIPS.items() for slip in slips])
def test_every_slip_is_found(finished_cards, kind, slip):
    card, files = finished_cards[kind]
    before, after = slip
    assert before in card.text
    broken = card.text.replace(before, after, 1)
    assert lint_card(broken, card.repo_type, {"README.md", *card.files, *files}, card.verdicts)


def test_an_emotion_result_needs_controls_that_passed(finished_cards):
    card, files = finished_cards["gguf"]
    problems = lint_card(card.text, "model", {"README.md", *card.files, *files}, [])
    assert any("claim that no control supports" in line for line in problems)
