"""What the fuzzer found, one small case each: all of them ended a process, hung, or raised what is not ours."""

import io
import json
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from eeglabio.raw import export_set
from openpyxl import Workbook
from scipy.io import loadmat, savemat

from dataset_builder.errors import CopilotError, InputError, RecipeError
from dataset_builder.manifest import read_manifest
from dataset_builder.prompts import DEFAULT_STYLE
from dataset_builder.recipe import StrictModel, load_recipe
from dataset_builder.sources.array_files import open_array
from dataset_builder.sources.faced_tables import check_clips
from dataset_builder.sources.mat_check import check_mat
from dataset_builder.sources.recordings import read_recording
from dataset_builder.sources.workbooks import read_first_sheet
from dataset_builder.types import SCALP_CHANNELS
from tests.sources.test_recordings import make_raw, make_signal, save

DEEP = "[" * 100_000


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def matrix(class_of: int, shape: tuple[int, ...], content: bytes) -> bytes:
    head = element(6, struct.pack("<II", class_of, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, head + element(1, b"x") + content)


def write_mat(path: Path, body: bytes, packed: bool = False) -> Path:
    if packed:
        data = zlib.compress(body)
        body = struct.pack("<II", 15, len(data)) + data
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + body)
    return path


def nest(depth: int) -> bytes:
    body = matrix(6, (1, 1), element(9, struct.pack("<d", 1.0)))
    for _ in range(depth):
        body = matrix(1, (1, 1), body)
    return body


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (matrix(6, (2, 1), element(200, b"\0" * 16)), "numbers of an array do not fit"),
        (matrix(6, (2, 1), element(9, b"\0" * 8)), "numbers of an array do not fit"),
        (matrix(6, (2, -1), element(9, b"")), "impossible dimensions"),
        (matrix(1, (60_000, 60_000), b""), "more members than it holds"),
        (matrix(4, (60_000, 60_000), element(16, b"")), "text does not fit"),
        (matrix(2, (1, 1), element(5, struct.pack("<i", 0)) + element(1, b"")), "names of a struct array"),
        (matrix(5, (1, 1), b""), "sparse matrix"),
        (matrix(99, (1, 1), b""), "no known class"),
        (nest(50), "nested more than 40 deep"),
        (matrix(6, (1, 1), element(9, b"\0" * 8) + b"\0" * 64), "longer than what it holds"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_mat_that_scipy_would_trust(tmp_path: Path, body: bytes, problem: str, packed: bool) -> None:
    path = write_mat(tmp_path / "x.mat", body, packed)
    with pytest.raises(InputError, match=problem) as caught:
        check_mat(path, "1/x.mat")
    assert str(caught.value).startswith("1/x.mat: cannot be read as a MATLAB file")


def test_mat_that_is_cut_off(tmp_path: Path) -> None:
    whole = matrix(6, (1, 1), element(9, b"\0" * 8))
    for end in range(1, len(whole)):
        with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
            check_mat(write_mat(tmp_path / f"{end}.mat", whole[:end]), "1/x.mat")


def test_mat_that_scipy_writes_is_accepted(tmp_path: Path) -> None:
    values = {"a": np.eye(3), "b": "text", "c": np.array([["x", 1]], dtype=object), "d": {"e": {"f": np.zeros(0)}}}
    for packed in (False, True):
        savemat(tmp_path / "x.mat", values | {"z": np.ones(4) * 1j, "t": True}, do_compression=packed)
        check_mat(tmp_path / "x.mat", "x.mat")
        assert loadmat(tmp_path / "x.mat")["a"].shape == (3, 3)
        (tmp_path / "x.mat").unlink()


def test_mat_in_the_other_byte_order(tmp_path: Path) -> None:
    swapped = struct.pack(">IIIIII", 14, 48, 6, 8, 6, 0) + struct.pack(">IIii", 5, 8, 1, 1)
    swapped += struct.pack(">HH4s", 1, 1, b"x\0\0\0") + struct.pack(">HH4s", 1, 2, b"\x07\0\0\0")
    (tmp_path / "x.mat").write_bytes(b"MATLAB 5.0".ljust(124) + struct.pack(">H", 0x0100) + b"MI" + swapped)
    check_mat(tmp_path / "x.mat", "x.mat")
    assert loadmat(tmp_path / "x.mat")["x"].tolist() == [[7]]


def save_fif(folder: Path) -> tuple[Path, bytearray, int]:
    """Save a FIF file; return it, its bytes, and where its second tag lies."""
    path = save(folder, make_raw(make_signal(8, 31, 128.0), list(SCALP_CHANNELS[:8]), 128.0), ".fif")
    data = bytearray(path.read_bytes())
    return path, data, 16 + struct.unpack(">i", data[8:12])[0]


def test_fif_whose_tags_run_in_a_circle(tmp_path: Path) -> None:
    path, data, second = save_fif(tmp_path)
    data[second + 12 : second + 16] = struct.pack(">i", second)
    path.write_bytes(data)
    with pytest.raises(InputError, match="its tags run in a circle"):
        read_recording(path)


def test_fif_whose_tags_lead_to_the_end_and_back(tmp_path: Path) -> None:
    """So is a real KIT recording among MNE's test data; such files are whole."""
    path, data, second = save_fif(tmp_path)
    signal = read_recording(path).signal_uv
    third = second + 16 + struct.unpack(">i", data[second + 8 : second + 12])[0]
    data[second + 12 : second + 16] = struct.pack(">i", len(data))
    path.write_bytes(data + struct.pack(">4i", 108, 0, 0, third))
    np.testing.assert_array_equal(read_recording(path).signal_uv, signal)


@pytest.mark.parametrize("key", ["DataFile", "MarkerFile"])
@pytest.mark.parametrize("value", ["/dev/zero", "../elsewhere/jane.eeg", "..\\elsewhere\\jane.eeg"])
def test_brainvision_that_names_a_file_elsewhere(tmp_path: Path, key: str, value: str) -> None:
    path = save(tmp_path, make_raw(make_signal(12, 31)), ".vhdr")
    text = path.read_text()
    named = next(line for line in text.splitlines() if line.startswith(f"{key}="))
    path.write_text(text.replace(named, f"{key}={value}"))
    with pytest.raises(InputError, match="names a file in another folder") as caught:
        read_recording(path)
    assert "jane" not in str(caught.value)


def test_brainvision_with_endless_channels(tmp_path: Path) -> None:
    path = save(tmp_path, make_raw(make_signal(12, 31)), ".vhdr")
    path.write_text(path.read_text().replace("NumberOfChannels=12", "NumberOfChannels=2147483648"))
    with pytest.raises(InputError, match="2147483648 channels; accepted: at most 4096"):
        read_recording(path)


def test_brainvision_without_samples(tmp_path: Path) -> None:
    path = save(tmp_path, make_raw(make_signal(12, 31)), ".vhdr")
    path.with_suffix(".eeg").write_bytes(path.with_suffix(".eeg").read_bytes()[:48])
    with pytest.raises(InputError, match="less than a second|cannot be read"):
        read_recording(path)


def test_eeglab_that_names_samples_elsewhere(tmp_path: Path) -> None:
    raw = make_raw(make_signal(12, 31))
    (tmp_path / "mine").mkdir()
    (tmp_path / "others").mkdir()
    export_set(str(tmp_path / "mine" / "x.set"), raw.get_data(), raw.info["sfreq"], raw.ch_names)
    fields = loadmat(tmp_path / "mine" / "x.set", simplify_cells=True)
    fields = {key: value for key, value in fields.get("EEG", fields).items() if not key.startswith("__")}
    (tmp_path / "others" / "jane.fdt").write_bytes(np.asarray(fields["data"], dtype="<f4").tobytes(order="F"))
    savemat(tmp_path / "mine" / "x.set", {"EEG": fields | {"data": "../others/jane.fdt"}})
    with pytest.raises(InputError, match="names a file in another folder") as caught:
        read_recording(tmp_path / "mine" / "x.set")
    assert "jane" not in str(caught.value)
    shutil.move(tmp_path / "others" / "jane.fdt", tmp_path / "mine" / "jane.fdt")
    savemat(tmp_path / "mine" / "x.set", {"EEG": fields | {"data": "jane.fdt"}})
    assert read_recording(tmp_path / "mine" / "x.set").signal_uv is not None


def test_eeglab_with_too_few_samples(tmp_path: Path) -> None:
    raw = make_raw(make_signal(12, 31))
    export_set(str(tmp_path / "x.set"), raw.get_data(), raw.info["sfreq"], raw.ch_names)
    fields = loadmat(tmp_path / "x.set", simplify_cells=True)
    fields = {key: value for key, value in fields.get("EEG", fields).items() if not key.startswith("__")}
    data = np.asarray(fields["data"], dtype="<f4").tobytes(order="F")
    savemat(tmp_path / "x.set", {"EEG": fields | {"data": "x.fdt"}})
    (tmp_path / "x.fdt").write_bytes(data[: len(data) // 2 + 5])
    message = r"^recording \(\.set\): its header states 31 s, the file holds 15\.5 s; accepted: complete files$"
    with pytest.raises(InputError, match=message):
        read_recording(tmp_path / "x.set")
    (tmp_path / "x.fdt").write_bytes(data + b"more")
    assert len(read_recording(tmp_path / "x.set")) == 1


def test_workbook_that_unpacks_to_more_than_memory(tmp_path: Path) -> None:
    book = Workbook()
    book.save(tmp_path / "x.xlsx")
    with zipfile.ZipFile(tmp_path / "x.xlsx", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/bomb.xml", b" " * 30_000_000)
    with pytest.raises(InputError, match="unpacks to 30[0-9]+ bytes; accepted: at most 20000000"):
        read_first_sheet(tmp_path / "x.xlsx", "x.xlsx")


def test_workbook_whose_sheet_is_damaged(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append([1, 2])
    book.save(tmp_path / "whole.xlsx")
    with zipfile.ZipFile(tmp_path / "whole.xlsx") as source, zipfile.ZipFile(tmp_path / "x.xlsx", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, data.replace(b'r="A1"', b'r=""') if name.endswith("sheet1.xml") else data)
    with pytest.raises(InputError, match="Stimuli_info.xlsx: "):
        check_clips(shutil.copy(tmp_path / "x.xlsx", tmp_path / "Stimuli_info.xlsx"))


def test_array_with_half_a_header(tmp_path: Path) -> None:
    header = b"{'descr': ('<f8',\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(InputError, match="x.npy: cannot be read as a NumPy array"):
        open_array(tmp_path / "x.npy", "x.npy", 250.0, ["Cz"])


def test_json_that_is_nested_too_deeply(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(DEEP)
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(tmp_path)
    with pytest.raises(InputError, match="not valid JSON"):
        DEFAULT_STYLE.parse_answer(DEEP)


class AnyRecipe(StrictModel):
    name: str = "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name: " + b"[" * 5000, "RecursionError"),
        (b"name: 2001-99-99", "ValueError"),
        (b"name: !!int '0x'", "ValueError"),
        (b"name: \xb4", "not text in UTF-8"),
        (b"a: &a [x, x]\nb: [*a, *a]", "an alias"),
        (b"name: x\n" + b"# room\n" * 20_000, "accepted: at most 100000"),
        (b"name: a\0b", "not valid YAML"),
        (b"{[a, b]: c}", "not valid YAML|unhashable|accepted"),
    ],
)
def test_recipes_that_were_not_refused_in_one_line(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "recipe.yaml").write_bytes(text)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(tmp_path / "recipe.yaml", AnyRecipe)
    assert str(caught.value).isprintable()
    with pytest.raises(RecipeError):
        load_recipe(Path(__file__).parent / "none.yaml", AnyRecipe, ["name=2001-99-99"])


def test_a_message_is_one_line_that_commands_no_terminal() -> None:
    error = CopilotError("key \x1b[2J\n\u202e: found " + "x" * 5000 + ", accepted: µV, joy")
    text = str(error)
    assert text.startswith(r"key \x1b[2J\n\u202e: found xxx")
    assert text.endswith("accepted: µV, joy")
    assert text.isprintable()
    assert len(text) <= 1000
    assert str(CopilotError(text)) == text


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from model_recipes.bases.qwen2 import Shape
    from tests.factories import make_tiny_model

    shape = Shape(hidden=16, heads=2, kv_heads=1, head_dim=8, ffn=16, layers=1, vocab=300)
    return make_tiny_model(tmp_path_factory.mktemp("found") / "model", shape)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"num_attention_heads": None}),
        ("config.json", {"num_hidden_layers": 2**31}),
        ("config.json", {"architectures": [{}]}),
        ("config.json", {"intermediate_size": 1e308}),
        ("tokenizer.json", {"model": {"type": "BPE", "vocab": {"a": "b"}, "merges": []}}),
        ("tokenizer.json", {"model": {"type": "BPE", "vocab": {"a": 0.5}, "merges": []}}),
    ],
)
def test_model_folders_with_values_of_another_kind(tmp_path: Path, model_dir: Path, file: str, changes: dict) -> None:  # type: ignore[type-arg]
    from model_recipes.checkpoint import load_model
    from model_recipes.exporting.model import open_model

    folder = Path(shutil.copytree(model_dir, tmp_path / "model"))
    values = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    with pytest.raises(CopilotError, match="model"):
        open_model(folder)
    if file == "tokenizer.json" or "intermediate_size" in changes:
        with pytest.raises(InputError, match="model: cannot be read as a model"):
            load_model(folder)


def test_weights_and_adapters_that_are_pickles_are_not_read(tmp_path: Path, model_dir: Path) -> None:
    import torch

    from model_recipes.checkpoint import load_adapter, load_model

    folder = Path(shutil.copytree(model_dir, tmp_path / "model"))
    model, _ = load_model(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="model: cannot be read as a model"):
        load_model(folder)
    (tmp_path / "adapter").mkdir()
    torch.save({}, tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(InputError, match="adapter: holds no adapter_model.safetensors"):
        load_adapter(model, tmp_path / "adapter")


def test_a_bomb_in_a_compressed_variable_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    text = matrix(4, (1, 60_000_000), element(2, b"a" * 60_000_000))
    write_mat(path, text, packed=True)
    from dataset_builder.sources.mat_bytes import DamagedMat
    from dataset_builder.sources.mat_check import check_mat_stream

    assert path.stat().st_size < 100_000
    with pytest.raises(DamagedMat, match="at most 16000000 are read"):
        check_mat_stream(io.BytesIO(path.read_bytes()), max_bytes=16_000_000)
