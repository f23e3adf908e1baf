"""Cards: what is taken, what is refused, and where."""

from huggingface_hub import CommitOperationAdd, ModelCard, metadata_update

from tests.hub.steps import CARD, Desk, refuses, step

#: Line of the front matter -> what the refusal says.
BAD = {
    "license: my-own": '"license" must be one of',
    "license: mit\nlanguage: English": '"language"',
    "license: mit\nlanguage: no": '"language"',
    "license: mit\nwidget: hello": '"widget" must be an array',
    "license: mit\nbase_model: ./pruned/": '"base_model" with value',
    "license: mit\nbase_model: a/b\nbase_model_relation: pruned": '"base_model_relation"',
    "license: mit\nmodel-index: [{name: x, results: [{task: {}}]}]": '"model-index[0]',
    "license: [unclosed": "YAML",
}


@step("a good card is pushed")
def _good(desk: Desk) -> None:
    desk.api.create_repo("lab/c")
    desk.api.upload_file(repo_id="lab/c", path_in_repo="README.md", path_or_fileobj=CARD.encode())
    assert ModelCard.load("lab/c").data.license == "apache-2.0"


@step("a bad card is refused before anything is sent, in words")
def _bad(desk: Desk) -> None:
    for line, words in BAD.items():
        add = [CommitOperationAdd("README.md", f"---\n{line}\n---\n".encode())]
        commit = {"repo_id": "lab/c", "operations": add, "commit_message": "bad"}
        refuses(ValueError, lambda commit=commit: desk.api.create_commit(**commit), words)


@step("a card with a bad size is refused for data sets only")
def _size(desk: Desk) -> None:
    text = b"---\nlicense: mit\nsize_categories: [lots]\n---\n"
    desk.api.create_repo("lab/c", repo_type="dataset")
    upload = {"repo_id": "lab/c", "path_in_repo": "README.md", "path_or_fileobj": text}
    refuses(ValueError, lambda: desk.api.upload_file(**upload, repo_type="dataset"), "size_categories")
    desk.api.upload_file(**upload)


@step("metadata are updated in place, and overwritten only when told so")
def _update(desk: Desk) -> None:
    desk.api.upload_file(repo_id="lab/c", path_in_repo="README.md", path_or_fileobj=CARD.encode())
    if not _follows_endpoint():
        return
    metadata_update("lab/c", {"library_name": "peft"})
    refuses(ValueError, lambda: metadata_update("lab/c", {"library_name": "gguf"}), "overwrite")
    assert ModelCard.load("lab/c").data.library_name == "peft"
    ModelCard(CARD).push_to_hub("lab/c")


@step("a commit that names a large file which never came is refused")
def _absent(desk: Desk) -> None:
    import json

    from huggingface_hub.utils import get_session

    lines = [
        {"key": "header", "value": {"summary": "x"}},
        {"key": "lfsFile", "value": {"path": "a", "algo": "sha256", "oid": "0" * 64}},
    ]
    answer = get_session().post(
        f"{desk.api.endpoint}/api/models/lab/c/commit/main",
        headers={"Authorization": f"Bearer {desk.api.token or _token()}"},
        content="\n".join(map(json.dumps, lines)).encode(),
    )
    assert answer.status_code == 400
    assert "never uploaded" in answer.json()["error"]


def _follows_endpoint() -> bool:
    """Tell whether cards are validated where HF_ENDPOINT points; the oldest clients always ask the real Hub."""
    import huggingface_hub

    return int(huggingface_hub.__version__.split(".")[0]) >= 2


def _token() -> str:
    from huggingface_hub import get_token

    return get_token() or ""
