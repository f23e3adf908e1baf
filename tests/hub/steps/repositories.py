"""Who am I; repositories, Spaces and collections come and go."""

from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from tests.hub.steps import Desk, refuses, step


@step("whoami names the owner of the token")
def _who(desk: Desk) -> None:
    assert desk.api.whoami()["name"] == "lab"


@step("a repository is made once, and again only with exist_ok")
def _create(desk: Desk) -> None:
    assert desk.api.create_repo("lab/model").repo_id == "lab/model"
    refuses(HfHubHTTPError, lambda: desk.api.create_repo("lab/model"), "409")
    assert desk.api.create_repo("lab/model", exist_ok=True).repo_id == "lab/model"


@step("data sets live apart from models of the same name")
def _kinds(desk: Desk) -> None:
    desk.api.create_repo("lab/model", repo_type="dataset", private=True)
    assert desk.api.repo_info("lab/model", repo_type="dataset").private
    assert not desk.api.repo_info("lab/model").private


@step("nobody creates in a foreign namespace")
def _foreign(desk: Desk) -> None:
    refuses(HfHubHTTPError, lambda: desk.api.create_repo("somebody/model"), "403")


@step("an organisation that I may write to is mine as well")
def _organisation(desk: Desk) -> None:
    assert desk.api.create_repo("institute/model").repo_id == "institute/model"


@step("what exists is told: repository, revision, file")
def _exists(desk: Desk) -> None:
    api = desk.api
    assert (api.repo_exists("lab/model"), api.repo_exists("lab/nothing")) == (True, False)
    assert (api.revision_exists("lab/model", "main"), api.revision_exists("lab/model", "v9")) == (True, False)
    assert (api.file_exists("lab/model", ".gitattributes"), api.file_exists("lab/model", "x")) == (True, False)


@step("a repository that is not there is not found")
def _missing(desk: Desk) -> None:
    refuses(RepositoryNotFoundError, lambda: desk.api.model_info("lab/nothing"))


@step("models of an author are listed")
def _list(desk: Desk) -> None:
    assert [info.id for info in desk.api.list_models(author="lab")] == ["lab/model"]


@step("a repository can become private and gated")
def _settings(desk: Desk) -> None:
    desk.api.update_repo_settings("lab/model", gated="manual", private=True)
    info = desk.api.model_info("lab/model")
    assert (info.gated, info.private) == ("manual", True)
    desk.api.update_repo_settings("lab/model", gated=False)
    assert desk.api.model_info("lab/model").gated is False


@step("a Space needs to say what runs it")
def _space(desk: Desk) -> None:
    refuses(ValueError, lambda: desk.api.create_repo("lab/space", repo_type="space"), "space_sdk")
    desk.api.create_repo("lab/space", repo_type="space", space_sdk="gradio")
    assert desk.api.space_info("lab/space").sdk == "gradio"
    assert desk.api.get_space_runtime("lab/space").stage == "NO_APP_FILE"


@step("a collection holds each repository once")
def _collection(desk: Desk) -> None:
    slug = desk.api.create_collection("EEG", namespace="lab", exists_ok=True).slug
    assert desk.api.create_collection("EEG", namespace="lab", exists_ok=True).slug == slug
    for _ in range(2):
        desk.api.add_collection_item(slug, "lab/model", item_type="model", exists_ok=True)
    desk.api.add_collection_item(slug, "lab/space", item_type="space", note="try it")
    assert [item.item_id for item in desk.api.get_collection(slug).items] == ["lab/model", "lab/space"]
    refuses(HfHubHTTPError, lambda: desk.api.add_collection_item(slug, "lab/none", item_type="model"), "404")
    desk.api.delete_collection(slug)


@step("a deleted repository is gone")
def _delete(desk: Desk) -> None:
    desk.api.delete_repo("institute/model")
    refuses(RepositoryNotFoundError, lambda: desk.api.model_info("institute/model"))
    desk.api.delete_repo("institute/model", missing_ok=True)
