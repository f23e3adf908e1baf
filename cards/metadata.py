"""What the YAML block of a card may hold. Misspelled keys and unknown words cannot be written."""

from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, Field, model_validator

from cards.vocabulary import LICENCES, SIZES, TASKS, is_hub_id, is_language
from dataset_builder.recipe import StrictModel


def _known(accepts: Any, what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not accepts(value):
            raise ValueError(f"is not {what}")
        return value

    return AfterValidator(check)


Licence = Annotated[str, _known(LICENCES.__contains__, "a licence identifier of the Hub")]
Language = Annotated[str, _known(is_language, "a lower-case ISO 639 code")]
HubId = Annotated[str, _known(is_hub_id, "of the form namespace/name")]
Size = Annotated[str, _known(SIZES.__contains__, "a size category of the Hub")]
Task = Annotated[str, _known(TASKS.__contains__, "a task of the Hub")]
Annotator = Literal["expert-generated", "machine-generated", "no-annotation", "other"]
Colour = Literal["red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"]


class CardMetadata(StrictModel):
    """What every card has.

    Parameters
    ----------
    license : str
        A key of the Hub's list; ``"other"`` needs `license_name` and `license_link`.
    language : list of str
        ISO 639 codes.
    tags : list of str
    """

    license: Licence
    license_name: str | None = None
    license_link: str | None = None
    language: list[Language] = Field(default_factory=lambda: ["en"])
    tags: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _name_other_licence(self) -> Self:
        if self.license == "other" and not (self.license_name and self.license_link):
            raise ValueError("license: other needs license_name and license_link")
        return self

    def to_yaml(self) -> str:
        """Return the block between the ``---`` lines, without keys that are not set."""
        values = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        filled = {key: value for key, value in values.items() if value not in ([], {})}
        return yaml.safe_dump(filled, sort_keys=False, allow_unicode=True, width=120).strip()


class DatasetMetadata(CardMetadata):
    """A corpus. `configs` is what `load_dataset` reads and comes from the corpus folder unchanged.

    The ``extra_gated_*`` keys are what somebody has to agree to who asks to read a gated data set.
    """

    pretty_name: str
    task_categories: list[Task]
    task_ids: list[Literal["multi-class-classification", "dialogue-generation"]] = Field(default_factory=list)
    size_categories: list[Size]
    annotations_creators: list[Annotator] = Field(default_factory=list)
    language_creators: list[Annotator] = Field(default_factory=list)
    multilinguality: list[Literal["monolingual", "multilingual"]] = Field(default_factory=list)
    source_datasets: list[Literal["original", "extended"]] = Field(default_factory=list)
    extra_gated_heading: str | None = None
    extra_gated_prompt: str | None = None
    extra_gated_fields: dict[str, Literal["text", "checkbox", "country", "date_picker"]] = Field(default_factory=dict)
    extra_gated_button_content: str | None = None
    configs: list[dict[str, Any]] = Field(default_factory=list)
    dataset_info: dict[str, Any] | list[dict[str, Any]] | None = None


class ModelMetadata(CardMetadata):
    """A model, an adapter or GGUF files."""

    library_name: Literal["transformers", "peft", "gguf"]
    pipeline_tag: Literal["text-generation"] = "text-generation"
    base_model: HubId | None = None
    base_model_relation: Literal["adapter", "finetune", "merge", "quantized"] | None = None
    datasets: list[HubId] = Field(default_factory=list)
    metrics: list[str] = Field(default_factory=list)
    model_index: list[dict[str, Any]] = Field(default_factory=list, serialization_alias="model-index")

    @model_validator(mode="after")
    def _relate_to_something(self) -> Self:
        if (self.base_model is None) != (self.base_model_relation is None):
            raise ValueError("base_model and base_model_relation go together")
        return self


class SpaceMetadata(CardMetadata):
    """A Space: how it is run comes from the folder's own README.md, what it belongs to from the push."""

    title: str
    emoji: str | None = None
    colorFrom: Colour = "blue"
    colorTo: Colour = "green"
    sdk: Literal["gradio", "docker", "static"]
    sdk_version: str | None = None
    python_version: str | None = None
    app_file: str | None = None
    app_port: int | None = None
    short_description: Annotated[str, Field(max_length=60)] | None = None
    models: list[HubId] = Field(default_factory=list)
    datasets: list[HubId] = Field(default_factory=list)
    pinned: bool | None = None
    suggested_hardware: str | None = None
    preload_from_hub: list[str] = Field(default_factory=list)
    fullWidth: bool | None = None
    header: Literal["mini", "default"] | None = None
    disable_embedding: bool | None = None
