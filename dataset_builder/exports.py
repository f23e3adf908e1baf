"""Row formats for other trainers: a corpus as JSON lines, nothing lost and nothing added.

========================  ==========================================================================================
``messages``              ``{"messages": [{"role", "content"}, ...]}``: TRL, Axolotl (``chat_template``), most others
``prompt_completion``     ``{"prompt": [system, user], "completion": [assistant]}``: TRL, only the completion is trained
``sharegpt``              ``{"conversations": [{"from", "value"}, ...]}``: LLaMA-Factory, Axolotl
``alpaca``                ``{"instruction", "input", "output", "system"}``: LLaMA-Factory and the Alpaca family
========================  ==========================================================================================

Each line also has the ``row_id`` of the corpus. To add a format, write a `RowFormat` with both directions and add a
line to `ROW_FORMATS`: the contract tests then apply to it.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dataset_builder.corpus import load_split
from dataset_builder.errors import InputError
from dataset_builder.manifest import Manifest, read_manifest, write_text
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import Stage, find_finished, open_stage

Messages = list[dict[str, str]]

#: Describes the files to LLaMA-Factory, under the name that it looks for.
DATASET_INFO = "dataset_info.json"

_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}
_ROLES = {name: role for role, name in _SHAREGPT.items()}


@dataclass(frozen=True)
class RowFormat:
    """One way to write a conversation.

    Parameters
    ----------
    write : callable
        Messages (system, user, assistant) -> the fields of a line.
    read : callable
        The way back.
    llama_factory : dict
        How LLaMA-Factory is told to read it; empty where it cannot.
    """

    write: Callable[[Messages], dict[str, Any]]
    read: Callable[[dict[str, Any]], Messages]
    llama_factory: dict[str, Any]


def _write_alpaca(messages: Messages) -> dict[str, Any]:
    system, user, answer = (message["content"] for message in messages)
    return {"instruction": user, "input": "", "output": answer, "system": system}


def _read_alpaca(fields: dict[str, Any]) -> Messages:
    turns = {"system": fields["system"], "user": fields["instruction"], "assistant": fields["output"]}
    return [{"role": role, "content": content} for role, content in turns.items()]


def _write_sharegpt(messages: Messages) -> dict[str, Any]:
    return {"conversations": [{"from": _SHAREGPT[m["role"]], "value": m["content"]} for m in messages]}


def _read_sharegpt(fields: dict[str, Any]) -> Messages:
    return [{"role": _ROLES[turn["from"]], "content": turn["value"]} for turn in fields["conversations"]]


ROW_FORMATS: dict[str, RowFormat] = {
    "messages": RowFormat(
        write=lambda messages: {"messages": messages},
        read=lambda fields: fields["messages"],
        llama_factory={
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        },
    ),
    "prompt_completion": RowFormat(
        write=lambda messages: {"prompt": messages[:-1], "completion": messages[-1:]},
        read=lambda fields: [*fields["prompt"], *fields["completion"]],
        llama_factory={},
    ),
    "sharegpt": RowFormat(
        write=_write_sharegpt,
        read=_read_sharegpt,
        llama_factory={"formatting": "sharegpt", "columns": {"messages": "conversations"}},
    ),
    "alpaca": RowFormat(
        write=_write_alpaca,
        read=_read_alpaca,
        llama_factory={
            "formatting": "alpaca",
            "columns": {"prompt": "instruction", "query": "input", "response": "output", "system": "system"},
        },
    ),
}


class ExportRecipe(StrictModel):
    """Options of an export.

    Parameters
    ----------
    format : str
        A name in `ROW_FORMATS`.
    """

    format: Literal["messages", "prompt_completion", "sharegpt", "alpaca"] = "messages"


def export_rows(recipe: ExportRecipe, corpus_dir: str | Path, out_dir: str | Path) -> Manifest:
    """Write a corpus in the format of another trainer.

    Parameters
    ----------
    recipe : ExportRecipe
    corpus_dir : str or Path
        Folder of a finished corpus.
    out_dir : str or Path
        Folder to write: ``<split>.jsonl`` for every split that has rows, ``dataset_info.json`` where LLaMA-Factory
        reads the format, ``manifest.json``.

    Returns
    -------
    Manifest
        Facts: the rows of each split.

    Raises
    ------
    InputError
        If the folder is not a finished corpus, or a row is not one system, user and assistant turn.
    """
    parents = [corpus_dir]
    if finished := find_finished("export", out_dir, recipe, parents=parents):
        return finished
    corpus = read_manifest(corpus_dir)
    with open_stage("export", out_dir, recipe, parents=parents, seed=corpus.seed) as stage:
        counts = stage.facts.setdefault("splits", {})
        for split in corpus.facts.get("splits", ("train",)):  # a folder without splits is refused by load_split
            rows = load_split(corpus_dir, split).select_columns(["row_id", "messages"])
            counts[split] = _write_lines(stage.folder / f"{split}.jsonl", rows, recipe.format)
        stage.facts["format"] = recipe.format
        _describe_files(stage, recipe.format, _name_data(corpus))
    assert stage.manifest is not None  # open_stage sets it on leaving
    return stage.manifest


def _write_lines(path: Path, rows: Iterable[dict[str, Any]], name: str) -> int:
    """Write one line per row and return how many there are; no file is written for none."""
    lines = [_render_line(row, ROW_FORMATS[name]) for row in rows]
    if lines:
        write_text(path, "".join(lines))
    return len(lines)


def _render_line(row: dict[str, Any], form: RowFormat) -> str:
    found = [message["role"] for message in row["messages"]]
    if found != list(_SHAREGPT):
        raise InputError(f"row {row['row_id']}: turns are {', '.join(found)}; accepted: {', '.join(_SHAREGPT)}")
    return json.dumps({"row_id": row["row_id"], **form.write(row["messages"])}, ensure_ascii=False) + "\n"


def _describe_files(stage: Stage, name: str, data: str) -> None:
    """Write what LLaMA-Factory needs to know of the files, as one entry per split."""
    if told := ROW_FORMATS[name].llama_factory:
        files = sorted(stage.folder.glob("*.jsonl"))
        entries = {f"{data}-{path.stem}": {"file_name": path.name, **told} for path in files}
        write_text(stage.folder / DATASET_INFO, json.dumps(entries, indent=2) + "\n")


def _name_data(corpus: Manifest) -> str:
    """Return the corpus's name, with a mark where its data are made up."""
    name = str(corpus.recipe.get("name", "eeg-emotion-copilot"))
    return f"{name}-synthetic" if corpus.synthetic and "synthetic" not in name else name
