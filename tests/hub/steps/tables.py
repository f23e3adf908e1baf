"""Data sets: pushed and loaded with `datasets`, in configurations, in parts, as a stream."""

from datasets import Dataset, DatasetDict, get_dataset_config_names, get_dataset_split_names, load_dataset
from datasets.exceptions import DatasetNotFoundError

from tests.hub.steps import Desk, refuses, step


def _rows(first: int, count: int) -> Dataset:
    return Dataset.from_dict({"n": list(range(first, first + count)), "word": [f"w{n}" for n in range(count)]})


def _parts() -> DatasetDict:
    return DatasetDict({"train": _rows(0, 30), "test": _rows(100, 10)})


@step("splits are pushed in shards, and a second configuration beside the first")
def _push(desk: Desk) -> None:
    _parts().push_to_hub("lab/t", "one", num_shards={"train": 3, "test": 1}, set_default=True)
    DatasetDict({"train": _rows(1000, 5)}).push_to_hub("lab/t", "two")
    names = [name for name in desk.api.list_repo_files("lab/t", repo_type="dataset") if name.startswith("one/train")]
    assert len(names) == 3


@step("the same data again change nothing")
def _again(desk: Desk) -> None:
    before = desk.api.dataset_info("lab/t").siblings
    DatasetDict({"train": _rows(1000, 5)}).push_to_hub("lab/t", "two")
    after = desk.api.dataset_info("lab/t").siblings
    assert [row.rfilename for row in before] == [row.rfilename for row in after]


@step("configurations and splits are told")
def _names(desk: Desk) -> None:
    assert sorted(get_dataset_config_names("lab/t")) == ["one", "two"]
    assert sorted(get_dataset_split_names("lab/t", "one")) == ["test", "train"]


@step("each configuration loads, with slices")
def _load(desk: Desk) -> None:
    assert load_dataset("lab/t", split="train")["n"][:3] == [0, 1, 2]
    assert load_dataset("lab/t", "two", split="train[:2]")["n"][:] == [1000, 1001]
    assert load_dataset("lab/t", "one")["test"].num_rows == 10


@step("a stream reads from the first row to the last")
def _stream(desk: Desk) -> None:
    stream = load_dataset("lab/t", "one", split="train", streaming=True)
    assert [row["n"] for row in stream.take(2)] == [0, 1]
    assert sum(1 for _ in stream) == 30


@step("a tag keeps its rows")
def _tag(desk: Desk) -> None:
    desk.api.create_tag("lab/t", tag="v1", repo_type="dataset")
    DatasetDict({"train": _rows(0, 4)}).push_to_hub("lab/t", "two")
    assert load_dataset("lab/t", "two", split="train").num_rows == 4
    assert load_dataset("lab/t", "two", split="train", revision="v1").num_rows == 5


@step("a private data set is made by pushing, and a proposal by asking for one")
def _private(desk: Desk) -> None:
    _rows(0, 3).push_to_hub("lab/secret", private=True)
    assert desk.api.dataset_info("lab/secret").private
    made = _rows(5, 3).push_to_hub("lab/secret", create_pr=True)
    assert made.pr_url.endswith("/discussions/1")


@step("a table is read by its address")
def _address(desk: Desk) -> None:
    name = next(row for row in desk.api.list_repo_files("lab/t", repo_type="dataset") if row.startswith("one/test"))
    files = f"hf://datasets/lab/t/{name}"
    assert load_dataset("parquet", data_files=files, split="train").num_rows == 10


@step("a data set that is not there is not found")
def _missing(desk: Desk) -> None:
    refuses(DatasetNotFoundError, lambda: load_dataset("lab/none"))
