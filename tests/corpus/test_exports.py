"""Exports for other trainers: every format gives the conversations back, whole and in order."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from copilot.cli import main as run_cli
from dataset_builder.corpus import load_split
from dataset_builder.errors import InputError
from dataset_builder.exports import DATASET_INFO, ROW_FORMATS, ExportRecipe, export_rows
from dataset_builder.manifest import MANIFEST, hash_file, read_manifest
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import open_stage
from tests.factories import make_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("exports") / "corpus", n_train=2)


@pytest.fixture(scope="module")
def exported(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return {name: _export(name, corpus, folder / name) for name in ROW_FORMATS}


def _export(name, corpus, out):
    export_rows(ExportRecipe(format=name), corpus, out)
    return out


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def plain(messages):
    return [{"role": message["role"], "content": message["content"]} for message in messages]


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_every_format_is_lossless(name, corpus, exported):
    for split, count in read_manifest(exported[name]).facts["splits"].items():
        rows = load_split(corpus, split).to_list()
        lines = read_lines(exported[name] / f"{split}.jsonl")
        assert len(lines) == len(rows) == count > 0
        for row, line in zip(rows, lines, strict=True):
            assert line["row_id"] == row["row_id"]
            assert plain(ROW_FORMATS[name].read(line)) == plain(row["messages"])


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_text_with_quotes_and_line_ends_survives(name):
    messages = [
        {"role": "system", "content": 'a "quoted"\u2028line'},
        {"role": "user", "content": "b\n\n\tc\\n"},
        {"role": "assistant", "content": '{"emotion": "joy（喜悦）"}'},
    ]
    line = json.dumps(ROW_FORMATS[name].write(messages), ensure_ascii=False)
    assert "\n" not in line
    assert ROW_FORMATS[name].read(json.loads(line)) == messages


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("messages", {"row_id", "messages"}),
        ("prompt_completion", {"row_id", "prompt", "completion"}),
        ("sharegpt", {"row_id", "conversations"}),
        ("alpaca", {"row_id", "instruction", "input", "output", "system"}),
    ],
)
def test_lines_have_the_fields_that_trainers_look_for(name, keys, exported):
    line = read_lines(exported[name] / "train.jsonl")[0]
    assert set(line) == keys
    if name == "prompt_completion":
        assert [turn["role"] for turn in line["prompt"] + line["completion"]] == ["system", "user", "assistant"]
    if name == "sharegpt":
        assert [turn["from"] for turn in line["conversations"]] == ["system", "human", "gpt"]
    if name == "alpaca":
        assert line["output"].startswith('{"emotion": "')
        assert "EEG:" in line["instruction"]
        assert line["input"] == ""


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_llama_factory_is_told_of_every_file_and_column(name, exported):
    path = exported[name] / DATASET_INFO
    if name == "prompt_completion":
        assert not path.exists()
        return
    entries = json.loads(path.read_text())
    assert {entry["file_name"] for entry in entries.values()} == {"train.jsonl", "validation.jsonl", "test.jsonl"}
    assert all("synthetic" in key for key in entries)
    for entry in entries.values():
        line = read_lines(exported[name] / entry["file_name"])[0]
        assert set(entry["columns"].values()) <= set(line)
        if name == "messages":
            tags = entry["tags"]
            turns = line[entry["columns"]["messages"]]
            assert [turn[tags["role_tag"]] for turn in turns] == [
                tags[f"{role}_tag"] for role in ("system", "user", "assistant")
            ]
            assert all(turn[tags["content_tag"]] for turn in turns)


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_datasets_reads_the_lines(name, exported, tmp_path):
    files = {"train": str(exported[name] / "train.jsonl")}
    loaded = load_dataset("json", data_files=files, cache_dir=str(tmp_path))["train"]
    assert len(loaded) == read_manifest(exported[name]).facts["splits"]["train"]


def test_same_corpus_gives_the_same_bytes_and_a_second_run_costs_nothing(corpus, exported, tmp_path):
    again = _export("alpaca", corpus, tmp_path / "again")
    names = sorted(path.name for path in exported["alpaca"].iterdir() if path.name != MANIFEST)
    assert [hash_file(again / name) for name in names] == [hash_file(exported["alpaca"] / name) for name in names]
    before = (again / MANIFEST).stat().st_mtime_ns
    assert export_rows(ExportRecipe(format="alpaca"), corpus, again).stage == "export"
    assert (again / MANIFEST).stat().st_mtime_ns == before


def test_the_mark_of_made_up_data_and_the_parent_travel(exported):
    manifest = read_manifest(exported["messages"])
    assert manifest.synthetic
    assert [parent.stage for parent in manifest.parents] == ["corpus"]


def test_the_command_writes_and_tells(corpus, tmp_path, capsys):
    assert run_cli(["export", "--corpus", str(corpus), "--format", "sharegpt", "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "train" in told
    assert "18 rows" in told
    assert read_manifest(tmp_path / "out").facts["format"] == "sharegpt"


class _Nothing(StrictModel):
    seed: int = 0


def test_what_is_not_a_corpus_is_refused_and_leaves_nothing(tmp_path, capsys):
    with open_stage("base", tmp_path / "base", _Nothing()):
        pass
    for name in ("base", "missing"):
        assert run_cli(["export", "--corpus", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert name in error
        assert str(tmp_path) not in error
    assert not (tmp_path / "out").exists()


def test_other_turns_than_three_are_refused(tmp_path):
    corpus = make_corpus(tmp_path / "corpus", n_train=2)
    path = next((corpus / "data").glob("train-*.parquet"))
    table = pq.read_table(path)
    index = table.column_names.index("messages")
    cut = pa.array([messages[1:] for messages in table["messages"].to_pylist()], table.schema.field(index).type)
    pq.write_table(table.set_column(index, table.schema.field(index), cut), path)
    with pytest.raises(InputError, match=r"row .*: turns are user, assistant; accepted: system, user, assistant"):
        export_rows(ExportRecipe(), corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()
