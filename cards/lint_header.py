"""The front matter of a card against the Hub's rules."""

import re
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatch
from math import isfinite
from typing import Any

from cards.claims import has_passed
from cards.rules import list_languages, list_words

#: Keys that the Hub, or `datasets`, reads; anything else is a misspelling that would be ignored without a word.
_COMMON = {"license", "license_name", "license_link", "language", "tags", "thumbnail"}
_GATE = {f"extra_gated_{key}" for key in ("heading", "description", "prompt", "fields", "button_content")}
_KEYS = {
    "model": _COMMON
    | _GATE
    | {"library_name", "pipeline_tag", "base_model", "base_model_relation", "datasets", "metrics", "model-index"}
    | {"new_version", "model_name", "widget", "inference"},
    "dataset": _COMMON
    | _GATE
    | {"pretty_name", "task_categories", "task_ids", "size_categories", "annotations_creators", "language_creators"}
    | {"multilinguality", "source_datasets", "paperswithcode_id", "configs", "dataset_info", "viewer"}
    | {"extra_gated_eu_disallowed"},
    "space": _COMMON
    | {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "app_port"}
    | {"short_description", "models", "datasets", "pinned", "suggested_hardware", "suggested_storage", "fullWidth"}
    | {"preload_from_hub", "header", "disable_embedding", "hf_oauth", "startup_duration_timeout", "base_path"},
}

#: Key -> the closed list that its words come from.
_CLOSED = {
    "license": "licences",
    "size_categories": "sizes",
    "task_categories": "tasks",
    "task_ids": "subtasks",
    "pipeline_tag": "tasks",
    "library_name": "libraries",
    "base_model_relation": "relations",
    "annotations_creators": "annotators",
    "language_creators": "annotators",
    "colorFrom": "colours",
    "colorTo": "colours",
    "sdk": "sdks",
}
#: Keys that hold texts, one each.
_TEXTS = ("pretty_name", "license_name", "license_link", "pipeline_tag", "library_name", "base_model_relation", "title")
#: What a library's files can be to their base.
_FITTING = {"peft": {"adapter"}, "gguf": {"quantized"}, "transformers": {"finetune", "merge"}}
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*")
#: Measures of emotion: they are a claim once they stand in the Hub's table of results.
_CLAIMING = {"accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "kappa"}


def lint_header(
    header: dict[str, Any], repo_type: str, files: Collection[str] | None, verdicts: Sequence[dict[str, Any]]
) -> list[str]:
    """List what is wrong with the front matter; the parameters are those of `cards.lint.lint_card`."""
    known = {str(key) for key in header if key in _KEYS[repo_type]}
    problems = [f"{key}: unknown key; the Hub would ignore it" for key in header if str(key) not in known]
    problems += [*_lint_forms(header), *_lint_words(header), *_lint_licence(header, files), *_lint_language(header)]
    problems += [*_lint_ids(header), *_lint_results(header, verdicts)]
    if repo_type == "dataset":
        problems += [*_lint_configs(header, files), *_lint_info(header)]
    return problems + ([*_lint_space(header, files)] if repo_type == "space" else [])


def _lint_forms(header: dict[str, Any]) -> Iterator[str]:
    for key in sorted(list_words("lists") & set(header)):
        if not isinstance(header[key], list):
            yield f"{key}: must be a list, found {type(header[key]).__name__}"
    for key in _TEXTS:
        if key in header and not (isinstance(header[key], str) and header[key].strip()):
            yield f"{key}: must be text, found {header[key]!r}"
    for key in ("tags", "metrics"):
        words = as_list(header.get(key))
        if not all(isinstance(word, str) and word.strip() for word in words):
            yield f"{key}: every one must be text"
        elif len(set(words)) < len(words):
            yield f"{key}: one is given twice"
    if "extra_gated_fields" in header and not isinstance(header["extra_gated_fields"], dict):
        yield "extra_gated_fields: must be a mapping of question to kind"


def _lint_words(header: dict[str, Any]) -> Iterator[str]:
    for key, name in _CLOSED.items():
        known = list_words(name)
        for word in as_list(header.get(key)):
            if word not in known and key == "license":
                yield f"license: {word!r} is not an identifier of the Hub"
            elif word not in known:
                yield f"{key}: {word!r} is not one of the Hub's words" + (
                    f", {', '.join(sorted(known))}" if len(known) < 12 else ""
                )


def _lint_licence(header: dict[str, Any], files: Collection[str] | None) -> Iterator[str]:
    licences = as_list(header.get("license"))
    if not licences:
        yield "license: missing"
    if "other" not in licences:
        return
    name, link = str(header.get("license_name") or ""), str(header.get("license_link") or "")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,63}", name):
        yield f"license_name: {name!r} is not an identifier such as my-licence-1.0, which license: other needs"
    if not re.match(r"https://[\w.-]+", link) and not (link and (files is None or link in files)):
        yield f"license_link: {link!r} is neither an https address nor a file of the repository"


def _lint_language(header: dict[str, Any]) -> Iterator[str]:
    for code in as_list(header.get("language")):
        if code is False:
            yield "language: no is read as false; quote it"
        elif not isinstance(code, str) or code not in list_languages():
            yield f"language: {code!r} is not a lower-case ISO 639 code"


def _lint_ids(header: dict[str, Any]) -> Iterator[str]:
    for key in ("base_model", "datasets", "models"):
        for name in as_list(header.get(key)):
            fits = isinstance(name, str) and len(name) <= 96 and _REPOSITORY.fullmatch(name)
            if not fits or re.search(r"--|\.\.|\.git$|[.-]$|[.-]/", name):
                yield f"{key}: {name!r} is not of the form namespace/name"
    relation, library = header.get("base_model_relation"), header.get("library_name")
    if relation and not header.get("base_model"):
        yield "base_model_relation: given without base_model"
    if header.get("base_model") and not relation:
        yield "base_model: given without base_model_relation; the Hub would guess"
    if relation and library in _FITTING and relation not in _FITTING[library]:
        yield f"base_model_relation: {relation!r} does not fit library_name {library!r}"
    tags = [tag for tag in as_list(header.get("tags")) if isinstance(tag, str) and tag.startswith("base_model:")]
    if any(tag.rpartition(":")[2] not in as_list(header.get("base_model")) for tag in tags):
        yield "tags: one names another base_model than the key"


def _lint_results(header: dict[str, Any], verdicts: Sequence[dict[str, Any]]) -> Iterator[str]:
    entries = header.get("model-index")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or not entry.get("name") or not isinstance(entry.get("results"), list):
            yield "model-index: every entry needs a name and a list of results"
            continue
        for number, result in enumerate(entry["results"]):
            yield from (f"model-index: result {number}: {line}" for line in _judge_result(result, verdicts))


def _judge_result(result: dict[str, Any], verdicts: Sequence[dict[str, Any]]) -> Iterator[str]:
    task, data, metrics = ((result.get(key) or {}) for key in ("task", "dataset", "metrics"))
    if not isinstance(task, dict) or task.get("type") not in list_words("tasks"):
        yield "task.type is not one of the Hub's tasks"
    if not isinstance(data, dict) or not (data.get("type") and data.get("name")):
        yield "dataset needs a type and a name"
    if not isinstance(metrics, list) or not metrics:
        yield "there is no metric"
        return
    for metric in metrics:
        value = metric.get("value") if isinstance(metric, dict) else None
        if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
            yield f"value {value!r} is not a number"
        elif not metric.get("type"):
            yield "a metric needs a type"
        elif metric["type"] in _CLAIMING and not any(map(has_passed, verdicts)):
            yield f"{metric['type']} is a claim that no control supports"
    source = result.get("source")
    if isinstance(source, dict) and source.get("name") and not source.get("url"):
        yield "source has a name but no url"


def _lint_configs(header: dict[str, Any], files: Collection[str] | None) -> Iterator[str]:
    configs = as_list(header.get("configs"))
    if not all(isinstance(config, dict) and config.get("config_name") for config in configs):
        yield "configs: every config needs a config_name"
        return
    names = [config["config_name"] for config in configs]
    if len(set(names)) < len(names):
        yield "configs: two have the same config_name"
    defaults = [config["config_name"] for config in configs if config.get("default")]
    if len(defaults) > 1:
        yield f"configs: {len(defaults)} are marked default; one can be"
    for config in configs:
        yield from (f"configs: {config['config_name']}: {line}" for line in _lint_files(config, files))


def _lint_files(config: dict[str, Any], files: Collection[str] | None) -> Iterator[str]:
    entries = as_list(config.get("data_files"))
    if not entries and not config.get("data_dir"):
        yield "has neither data_files nor data_dir"
    if any(isinstance(entry, dict) and not (entry.get("split") and entry.get("path")) for entry in entries):
        yield "every one of data_files needs split and path"
        return
    splits = [str(entry["split"]) for entry in entries if isinstance(entry, dict)]
    if len(set(splits)) < len(splits):
        yield "a split is given twice"
    patterns = [path for entry in entries for path in as_list(entry["path"] if isinstance(entry, dict) else entry)]
    for pattern in map(str, patterns):
        if pattern.startswith(("/", "~")) or ".." in pattern.split("/") or "\\" in pattern:
            yield f"{pattern!r} leads out of the repository"
        elif files is not None and not any(fnmatch(name, pattern) for name in files):
            yield f"{pattern!r} matches no file"


def _lint_info(header: dict[str, Any]) -> Iterator[str]:
    known = {config.get("config_name") for config in as_list(header.get("configs")) if isinstance(config, dict)}
    for info in as_list(header.get("dataset_info")):
        if not isinstance(info, dict):
            yield "dataset_info: must be a mapping or a list of them"
        elif known and info.get("config_name", "default") not in known:
            yield f"dataset_info: {info.get('config_name', 'default')!r} is not among the configs"
        elif not all(isinstance(split.get("num_examples"), int) for split in as_list(info.get("splits"))):
            yield "dataset_info: num_examples must be whole numbers"


def _lint_space(header: dict[str, Any], files: Collection[str] | None) -> Iterator[str]:
    for key in ("title", "sdk"):
        if not header.get(key):
            yield f"{key}: missing"
    if len(str(header.get("short_description") or "")) > 60:
        yield "short_description: longer than 60 characters"
    for key in ("sdk_version", "python_version"):
        if key in header and not re.fullmatch(r"\d+(\.\d+){1,2}", str(header[key])):
            yield f"{key}: {header[key]!r} is not a version"
        elif isinstance(header.get(key), float):
            yield f"{key}: is read as a number, so that 3.10 becomes 3.1; quote it"
    if header.get("sdk") == "gradio":
        app = str(header.get("app_file") or "app.py")
        if files is not None and app not in files:
            yield f"app_file: {app!r} is not in the repository"
        if "sdk_version" not in header:
            yield "sdk_version: missing; the Space would change with the next release"


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, nothing as an empty list, all else as a list of one."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
