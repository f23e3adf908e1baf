"""Every reader of foreign files, with valid files for it: what the fuzzer damages.

A new reader gets one class here, and is fuzzed by `make test` and `make nightly` from then on.
"""

import contextlib
import io
import json
import pickle
import shutil
import warnings
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml

REPO = Path(__file__).parents[2]


class Target(ABC):
    """One reader.

    Parameters
    ----------
    name : str
        What tests and reports call it.
    files : dict of str to str
        Each file that is damaged -> a key of `mutations.DIALECTS`.
    weight : int
        Share of the inputs.
    """

    name: ClassVar[str]
    files: ClassVar[dict[str, str]]
    weight: ClassVar[int] = 4

    #: Whether undamaged files must be read, not refused.
    must_be_read: ClassVar[bool] = True

    #: A part of the file's name that no message may hold.
    private = "person_raw"

    @abstractmethod
    def build(self, folder: Path) -> None:
        """Write files that can be read."""

    @abstractmethod
    def read(self, folder: Path) -> Any:
        """Read them as the product does."""

    def variants(self, folder: Path, name: str) -> list[bytes]:
        """Return valid contents of one file; the one on disk is among them."""
        more = sorted((folder / f"{name}.variants").glob("*"))
        return [(folder / name).read_bytes(), *(path.read_bytes() for path in more)]


TARGETS: dict[str, type[Target]] = {}


def register(target: type[Target]) -> type[Target]:
    """Put a target into `TARGETS`."""
    TARGETS[target.name] = target
    return target


@register
class Pickles(Target):
    """Arrays of FACED."""

    name, files, weight = "pickle", {"sub000.pkl.pkl": "pickle"}, 10

    def build(self, folder: Path) -> None:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for dtype in ("<f8", ">f4"):
                data = pickle.dumps(np.arange(24, dtype=dtype).reshape(4, 6), protocol=protocol)
                place = folder / "sub000.pkl.pkl.variants" / f"{protocol}{'f8' in dtype}"
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(data)
        (folder / "sub000.pkl.pkl").write_bytes(data)

    def read(self, folder: Path) -> Any:
        from dataset_builder.sources.safe_pickle import load_array

        return load_array(folder / "sub000.pkl.pkl", (4, 6), "EEG_Features/DE/sub000.pkl.pkl", finite=False)


@register
class Matrices(Target):
    """Arrays of SEED-IV."""

    name, files, weight = "mat", {"1.mat": "mat"}, 6

    def build(self, folder: Path) -> None:
        from scipy.io import savemat

        arrays = {"eeg1": np.arange(60.0).reshape(6, 10), "eeg2": np.ones((3, 4), dtype="f4"), "text": "abc"}
        savemat(folder / "1.mat", arrays, do_compression=True)
        (folder / "1.mat.variants").mkdir()
        savemat(folder / "1.mat.variants" / "plain", arrays, appendmat=False)

    def read(self, folder: Path) -> Any:
        from dataset_builder.sources.mat_files import list_arrays, load_array

        found = list_arrays(folder / "1.mat", "1/1.mat")
        return [load_array(folder / "1.mat", key, "1/1.mat", 10_000) for key in found]


@register
class Ratings(Target):
    """FACED's After_remarks.mat."""

    name, files, weight = "ratings", {"After_remarks.mat": "mat"}, 5

    def build(self, folder: Path) -> None:
        from dataset_builder.sources.synthetic import render_remarks

        (folder / "After_remarks.mat").write_bytes(render_remarks(5, "sub000"))

    def read(self, folder: Path) -> Any:
        from dataset_builder.sources.ratings import read_ratings

        return read_ratings(folder / "After_remarks.mat", 28, "Data/sub000/After_remarks.mat")


@register
class Workbooks(Target):
    """FACED's table of clips."""

    name, files, weight = "xlsx", {"Stimuli_info.xlsx": "zip"}, 4

    def build(self, folder: Path) -> None:
        from dataset_builder.sources.synthetic import render_clips

        (folder / "Stimuli_info.xlsx").write_bytes(render_clips())

    def read(self, folder: Path) -> Any:
        from dataset_builder.sources.faced_tables import check_clips

        check_clips(folder / "Stimuli_info.xlsx")
        return True


@register
class ChannelWorkbooks(Target):
    """SEED-IV's table of channels."""

    name, files, weight = "xlsx-channels", {"Channel Order.xlsx": "zip"}, 3

    def build(self, folder: Path) -> None:
        from openpyxl import Workbook

        from dataset_builder.sources.seed_iv_tables import CHANNELS

        book = Workbook()
        for channel in CHANNELS:
            book.active.append([channel])
        book.save(folder / "Channel Order.xlsx")

    def read(self, folder: Path) -> Any:
        from dataset_builder.sources.seed_iv_tables import check_channels

        check_channels(folder / "Channel Order.xlsx")
        return True


@register
class People(Target):
    """FACED's table of people."""

    name, files, weight = "csv-people", {"Recording_info.csv": "text"}, 5

    def build(self, folder: Path) -> None:
        from dataset_builder.sources.people import draw_person
        from dataset_builder.sources.synthetic import render_people

        names = [f"sub{number:03d}" for number in range(5)]
        (folder / "Recording_info.csv").write_bytes(render_people({name: draw_person(5, name) for name in names}))

    def read(self, folder: Path) -> Any:
        from dataset_builder.sources.faced_tables import read_people

        return [int(person["Age"]) for person in read_people(folder).values()]


@register
class Tables(Target):
    """The table beside a folder of recordings."""

    name, files, weight = "csv-recordings", {"recordings.csv": "text"}, 6

    def build(self, folder: Path) -> None:
        head = "file,subject,label,onset_s,duration_s,clip,rank,age,sex,sfreq_hz,channels,rating_joy\n"
        rows = [f"P{i}.edf,P{i},joy,{30 * i},30,{i},1,24,F,250,Fp1 Fp2 Cz,3.5\n" for i in range(1, 5)]
        (folder / "recordings.csv").write_text(head + "".join(rows))
        (folder / "recordings.csv.variants").mkdir()
        semicolons = (head + "".join(rows)).replace(",", ";").replace("3.5", "3,5")
        (folder / "recordings.csv.variants" / "wide").write_bytes(semicolons.encode("utf-16"))

    def read(self, folder: Path) -> Any:
        from dataset_builder.sources.recording_table import check_clips, read_table

        rows, _ = read_table(folder / "recordings.csv", "recordings.csv", {"happy": "joy"}, ())
        check_clips(rows, "recordings.csv")
        return rows


class _Recordings(Target):
    """One recording file of a type that `read_recording` takes."""

    suffix: ClassVar[str]

    def build(self, folder: Path) -> None:
        from tests.sources.test_recordings import WRITERS, make_raw, make_signal

        raw = make_raw(make_signal(8, 31, 128.0), names="Fp1 Fp2 F3 F4 C3 C4 P3 P4".split(), sfreq_hz=128.0)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            WRITERS[self.suffix](raw, folder / f"person_raw{self.suffix}")

    def read(self, folder: Path) -> Any:
        from copilot.deid import preview_header
        from dataset_builder.sources.recordings import read_recording

        path = folder / f"person_raw{self.suffix}"
        recording = read_recording(path)
        preview_header(path)
        return recording


@register
class Edf(_Recordings):
    name, suffix, files, weight = "edf", ".edf", {"person_raw.edf": "binary"}, 3


@register
class Bdf(_Recordings):
    name, suffix, files, weight = "bdf", ".bdf", {"person_raw.bdf": "binary"}, 3


@register
class Fif(_Recordings):
    name, suffix, files, weight = "fif", ".fif", {"person_raw.fif": "binary"}, 3


@register
class Eeglab(_Recordings):
    name, suffix, files, weight = "set", ".set", {"person_raw.set": "mat"}, 3


@register
class BrainVision(_Recordings):
    name, suffix, weight = "vhdr", ".vhdr", 4
    files: ClassVar = {"person_raw.vhdr": "text", "person_raw.vmrk": "text", "person_raw.eeg": "binary"}


@register
class Previews(Target):
    """What the app shows of a header before anything is read."""

    name, weight = "preview", 4
    files: ClassVar = {"a.edf": "binary", "a.vhdr": "text", "a.fif": "binary", "a.set": "mat"}

    def build(self, folder: Path) -> None:
        for target in (Edf, BrainVision, Fif, Eeglab):
            target().build(folder)
            (folder / f"person_raw{target.suffix}").rename(folder / f"a{target.suffix}")

    def read(self, folder: Path) -> Any:
        from copilot.deid import preview_header
        from dataset_builder.errors import CopilotError

        problems = []
        for name in self.files:
            try:
                preview_header(folder / name)
            except CopilotError as error:
                problems.append(error)
        if problems:
            raise problems[0]
        return True


@register
class RawFaced(Target):
    """FACED's continuous recordings and their triggers."""

    name, weight = "bdf-faced", 4
    files: ClassVar = {"evt.bdf": "binary", "data.bdf": "binary"}

    def build(self, folder: Path) -> None:
        from dataset_builder.sources.faced import FacedSource

        cohort = folder / "cohort"
        FacedSource.write_fake(cohort, n_subjects=1)
        for name in self.files:
            data = next(cohort.rglob(name)).read_bytes()
            (folder / name).write_bytes(data[:400_000])
        shutil.rmtree(cohort)

    def read(self, folder: Path) -> Any:
        from dataset_builder.sources.faced_events import describe_spans, read_spans
        from dataset_builder.sources.faced_raw import open_raw

        spans, _ = read_spans(folder / "evt.bdf", "Data/sub000/evt.bdf")
        describe_spans(spans)
        return open_raw(folder / "data.bdf", "Data/sub000/data.bdf").length_s


@register
class Arrays(Target):
    """NumPy arrays with a JSON file beside them."""

    name, weight = "npy", 6
    files: ClassVar = {"x.npy": "binary", "x.json": "json"}

    def build(self, folder: Path) -> None:
        np.save(folder / "x.npy", np.arange(40.0).reshape(4, 10))
        (folder / "x.json").write_text(json.dumps({"sfreq_hz": 250.0, "channels": ["Fp1", "Fp2", "Cz", "Pz"]}))

    def read(self, folder: Path) -> Any:
        from dataset_builder.sources.array_files import open_array

        return open_array(folder / "x.npy", "P1/x.npy", None, []).n_times


@register
class BidsTables(Target):
    """A table of the BIDS copy."""

    name, files, weight = "tsv-bids", {"channels.tsv": "text"}, 3

    def build(self, folder: Path) -> None:
        (folder / "channels.tsv").write_text("name\ttype\tunits\tstatus\nFp1\tEEG\tuV\tgood\nCz\tEEG\tuV\tbad\n")

    def read(self, folder: Path) -> Any:
        from dataset_builder.sources.faced_bids import _describe_channels

        return _describe_channels(folder / "channels.tsv", "sub-000/eeg/channels.tsv") or True


@register
class Ggufs(Target):
    """GGUF files: our keys, any key, one tensor."""

    name, files, weight = "gguf", {"m.gguf": "binary"}, 10

    def build(self, folder: Path) -> None:
        from gguf import GGUFWriter

        from model_recipes.exporting.gguf_file import CopilotGguf, add_copilot_keys
        from tests.copilot.copilot_fakes import fitted_codec

        writer = GGUFWriter(folder / "m.gguf", "qwen2")
        writer.add_name("fuzzed")
        writer.add_token_list(["a", "b", "c"])
        writer.add_token_types([1, 1, 1])
        facts = {"trained_subjects": 2}
        add_copilot_keys(writer, CopilotGguf(fitted_codec(), "fuzzed", "0.1.0", "c", True, "F32", facts))
        writer.add_tensor("token_embd.weight", np.ones((3, 32), dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def read(self, folder: Path) -> Any:
        from model_recipes.exporting.gguf_file import read_copilot_gguf
        from model_recipes.exporting.header import read_header, read_tensor

        path = folder / "m.gguf"
        read_header(path, ("tokenizer.", "general."))
        read_tensor(path, "token_embd.weight")
        return read_copilot_gguf(path)


@register
class Codecs(Target):
    """A fitted codec as safetensors."""

    name, files, weight = "safetensors-codec", {"codec.safetensors": "safetensors"}, 8

    def build(self, folder: Path) -> None:
        from dataset_builder.codecs import dump_codec
        from tests.copilot.copilot_fakes import fitted_codec

        (folder / "codec.safetensors").write_bytes(dump_codec(fitted_codec()))

    def read(self, folder: Path) -> Any:
        from dataset_builder.corpus import load_codec

        return load_codec(folder)


@register
class Models(Target):
    """A Transformers folder on its way to GGUF: config, tokenizer and weights."""

    name, weight = "safetensors-model", 4
    files: ClassVar = {
        "model/model.safetensors": "safetensors",
        "model/config.json": "json",
        "model/tokenizer.json": "json",
        "model/tokenizer_config.json": "json",
        "model/kept_tokens.json": "json",
    }

    def build(self, folder: Path) -> None:
        from model_recipes.bases.qwen2 import Shape
        from tests.factories import make_tiny_model

        shape = Shape(hidden=16, heads=2, kv_heads=1, head_dim=8, ffn=16, layers=1, vocab=300)
        make_tiny_model(folder / "model", shape)
        (folder / "model" / "kept_tokens.json").write_text(json.dumps(list(range(0, 600, 2))))

    def read(self, folder: Path) -> Any:
        from model_recipes.exporting.model import open_model
        from model_recipes.pruning.vocabulary import read_kept_ids

        read_kept_ids(folder / "model")
        model = open_model(folder / "model")
        return [model.read(name) for name in model.shapes]


@register
class Checkpoints(Models):
    """A Transformers folder that a stage loads to go on training."""

    name, weight = "checkpoint", 1
    files: ClassVar = {key: kind for key, kind in Models.files.items() if "kept" not in key}

    def read(self, folder: Path) -> Any:
        from model_recipes.checkpoint import load_model

        return load_model(folder / "model")


@register
class Recipes(Target):
    """Recipes of three stages."""

    name, weight = "recipe", 10
    files: ClassVar = {"corpus.yaml": "yaml", "prune.yaml": "yaml", "reader.yaml": "yaml"}

    def build(self, folder: Path) -> None:
        recipes = REPO / "model_recipes" / "recipes" / "tiny"
        shutil.copy(REPO / "dataset_builder" / "recipes" / "faced-qa.yaml", folder / "corpus.yaml")
        for name in ("prune.yaml", "reader.yaml"):
            shutil.copy(recipes / name, folder / name)

    def read(self, folder: Path) -> Any:
        from dataset_builder.recipe import load_recipe

        return [load_recipe(folder / name, model) for name, model in _list_recipe_models().items()]


@cache
def _list_recipe_models() -> dict[str, Any]:
    from dataset_builder.corpus import CorpusRecipe
    from model_recipes.prune import PruneRecipe
    from model_recipes.reader import ReaderRecipe

    return {"corpus.yaml": CorpusRecipe, "prune.yaml": PruneRecipe, "reader.yaml": ReaderRecipe}


@register
class Cards(Target):
    """A card, as the linter reads it."""

    name, files, weight = "card", {"README.md": "yaml"}, 5

    def build(self, folder: Path) -> None:
        header = {
            "license": "apache-2.0",
            "language": ["en"],
            "tags": ["eeg", "emotion"],
            "pretty_name": "A corpus",
            "configs": [{"config_name": "c", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
        }
        body = "# A corpus\n\nMade up. Not a medical device. See [page](https://example.org).\n"
        (folder / "README.md").write_text(f"---\n{yaml.safe_dump(header)}---\n\n{body}")

    def read(self, folder: Path) -> Any:
        from cards.lint import lint_card
        from dataset_builder.errors import InputError

        text = (folder / "README.md").read_bytes().decode("utf-8", errors="replace")
        if problems := lint_card(text, "dataset"):
            raise InputError(problems[0])
        return True


@register
class Manifests(Target):
    """The manifest of a finished stage."""

    name, files, weight = "manifest", {"stage/manifest.json": "json"}, 6

    def build(self, folder: Path) -> None:
        from tests.finished import finish_stage

        finish_stage(folder / "stage", "corpus", {"a.txt": b"a"})

    def read(self, folder: Path) -> Any:
        from dataset_builder.manifest import read_manifest

        return read_manifest(folder / "stage").list_outputs(".txt")


@register
class Records(Target):
    """A drafted record."""

    name, files, weight = "record", {"record.json": "json"}, 6

    def build(self, folder: Path) -> None:
        from copilot.record import FORMATS
        from tests.copilot import copilot_fakes

        (folder / "record.json").write_bytes(FORMATS["json"](copilot_fakes.make_record()))

    def read(self, folder: Path) -> Any:
        from copilot.record.json import parse_record

        return parse_record((folder / "record.json").read_bytes())


@register
class Answers(Target):
    """What a language model wrote; it can write anything."""

    name, files, weight = "answer", {"answer.txt": "json"}, 4

    def build(self, folder: Path) -> None:
        from tests.copilot.copilot_fakes import proper_answer

        (folder / "answer.txt").write_text(proper_answer("joy"))

    def read(self, folder: Path) -> Any:
        from dataset_builder.prompts import DEFAULT_STYLE

        return DEFAULT_STYLE.parse_answer((folder / "answer.txt").read_bytes().decode("utf-8", errors="replace"))
