"""What the Hub refuses in a card: only what is documented or was seen there, so that a pass means something."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from cards.vocabulary import LICENCES, SIZES
from tests.hub_server.http import Answer, Request, reply, route
from tests.hub_server.store import Refusal

#: A block larger than this is refused as too large (seen with cards that list thousands of features).
LARGEST_CARD = 2_000_000
_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
_COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
_LISTS = ("widget", "configs", "tags", "datasets", "metrics", "task_categories", "size_categories")


def read_header(data: bytes) -> dict[str, Any]:
    """Return the YAML block at the top of a card; empty if there is none or it is broken."""
    try:
        header = parse_header(data.decode("utf-8", errors="replace"))
    except yaml.YAMLError:
        return {}
    return header if isinstance(header, dict) else {}


def parse_header(text: str) -> Any:
    match = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|$)", text, flags=re.DOTALL)
    return yaml.safe_load(match[1]) if match else None


@route("POST", r"/api/validate-yaml")
def validate_yaml(request: Request) -> Answer:
    asked = request.json()
    errors, warnings = judge_card(asked.get("content", ""), asked.get("repoType") or "model")
    text = "\n".join(f"- Error: {line}" for line in errors)
    if errors:
        raise Refusal(400, text, errors=[{"message": line} for line in errors], warnings=warnings)
    return reply({"errors": [], "warnings": [{"message": line} for line in warnings]})


def judge_card(text: str, repo_type: str) -> tuple[list[str], list[str]]:
    """Return what is refused and what is only warned of in a README.md."""
    if len(text.encode()) > LARGEST_CARD:
        raise Refusal(413, "Payload Too Large")
    try:
        header = parse_header(text)
    except yaml.YAMLError as error:
        return [f"YAML: {getattr(error, 'problem', None) or error}"], []
    if header is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(header, dict):
        return ["YAML metadata must be a mapping"], []
    errors = [*_judge_common(header), *(_judge_model(header) if repo_type == "model" else [])]
    errors += [*_judge_dataset(header)] if repo_type == "dataset" else []
    errors += [*_judge_space(header)] if repo_type == "space" else []
    return errors, [] if repo_type == "space" or "license" in header else ["license is missing"]


def _judge_common(header: dict[str, Any]) -> Iterator[str]:
    for licence in _as_list(header.get("license")):
        if licence not in LICENCES:
            yield f'"license" must be one of [{", ".join(sorted(LICENCES))}]'
    for code in _as_list(header.get("language")):
        if not isinstance(code, str) or not re.fullmatch(r"[a-z]{2,3}|multilingual|code", code):
            yield f'"language" must be a lower-case ISO 639 code, not {code!r}'
    for key in _LISTS:
        if key in header and not isinstance(header[key], list):
            yield f'"{key}" must be an array'
    for key in ("tags", "datasets"):
        for item in _as_list(header.get(key)):
            if not isinstance(item, str):
                yield f'"{key}" must be an array of strings'
    for name in _as_list(header.get("datasets")):
        if isinstance(name, str) and not _ID.fullmatch(name):
            yield f'"datasets" with value "{name}" is not valid.'


def _judge_model(header: dict[str, Any]) -> Iterator[str]:
    for name in _as_list(header.get("base_model")):
        if not isinstance(name, str) or not _ID.fullmatch(name) or len(name) > 96:
            yield f'"base_model" with value "{name}" is not valid. Use a model id from https://hf.co/models.'
    relation = header.get("base_model_relation")
    if relation is not None and relation not in ("adapter", "finetune", "merge", "quantized"):
        yield '"base_model_relation" must be one of [adapter, finetune, quantized, merge]'
    for index, entry in enumerate(_as_list(header.get("model-index"))):
        yield from (f'"model-index[{index}]{line}' for line in _judge_results(entry))


def _judge_results(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict) or not entry.get("name") or not isinstance(entry.get("results"), list):
        yield '" needs a name and an array of results'
        return
    for number, result in enumerate(entry["results"]):
        needed = {"task": ("type",), "dataset": ("type", "name")}
        for key, fields in needed.items():
            for field in fields:
                if not (result.get(key) or {}).get(field):
                    yield f'.results[{number}].{key}.{field}" is required'
        if not all("type" in metric and "value" in metric for metric in result.get("metrics") or [{}]):
            yield f'.results[{number}].metrics" need a type and a value'


def _judge_dataset(header: dict[str, Any]) -> Iterator[str]:
    for size in _as_list(header.get("size_categories")):
        if size not in SIZES:
            yield f'"size_categories" must be one of [{", ".join(SIZES)}]'
    if isinstance(header.get("configs"), list):
        names = [config.get("config_name") if isinstance(config, dict) else None for config in header["configs"]]
        if None in names:
            yield '"configs[].config_name" is required'
        if len(set(names)) < len(names):
            yield '"configs[].config_name" must be unique'


def _judge_space(header: dict[str, Any]) -> Iterator[str]:
    if header.get("sdk") not in ("gradio", "docker", "static"):
        yield '"sdk" must be one of [gradio, docker, static]'
    for key in ("colorFrom", "colorTo"):
        if header.get(key, "red") not in _COLOURS:
            yield f'"{key}" must be one of [{", ".join(_COLOURS)}]'
    if len(str(header.get("short_description", ""))) > 60:
        yield '"short_description" length must be less than or equal to 60 characters long'


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
