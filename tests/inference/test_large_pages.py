"""Weights in large pages: a real effect where the kernel allows it, nothing at all elsewhere, the same answers."""

import ctypes
import mmap
import sys

import pytest

from dataset_builder.types import EMOTIONS
from model_recipes import engine as engine_module
from model_recipes.engine import Engine
from model_recipes.exporting.types import FILE_TYPES
from model_recipes.runtime import large_pages
from model_recipes.runtime.large_pages import has_large_pages, has_room, list_regions, use_large_pages
from model_recipes.runtime.server import is_read_in_place

CHAT = [{"role": "system", "content": "Read."}, {"role": "user", "content": "EEG 0123456789"}]
MAPS = """\
55d0c8a00000-55d0c8a21000 r-xp 00000000 fe:00 1234 /usr/bin/python3
55d0ca000000-55d0ca400000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0010000000 rw-p 00000000 00:00 0
7f0020000000-7f0030000000 rw-s 00000000 00:01 77 /dev/zero (deleted)
7f0040000000-7f0050000000 r--p 00000000 fe:00 99 /models/Größe und 한.gguf
7f0060000000-7f0060001000 ---p 00000000 00:00 0
7f0070000000-7f0070010000 rw-p 00000000 fe:00 98 /usr/lib/libc.so.6
7f0080000000-7f0080020000 rw-p 00000000 00:00 0 [anon:arena]
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
"""
SIZE = 64 * 2**20


def allocate() -> mmap.mmap:
    """Return private memory that was written to."""
    memory = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(b"\x2a" * SIZE)
    return memory


@pytest.fixture
def advice(monkeypatch):
    """Keep what would be asked of the kernel, which refuses all of it."""
    asked = []

    def refuse(address: int, length: int, number: int) -> bool:
        asked.append((address, length, number))
        return False

    monkeypatch.setattr(large_pages, "_advise", refuse)
    return asked


@pytest.mark.skipif(not has_large_pages(), reason="this system cannot move memory into large pages")
def test_memory_really_moves():
    before = list_regions()
    memory = allocate()
    moved = use_large_pages(before)
    if moved < SIZE // 2:
        pytest.skip("the machine has no large pages left")
    assert moved <= 2 * SIZE
    assert use_large_pages(before) == 0, "all of it lies there already"
    assert set(memory[:]) == {0x2A}, "its content stays"


def test_regions_are_read(tmp_path):
    (tmp_path / "maps").write_text(MAPS, encoding="utf-8")
    wanted = {(0x55D0CA000000, 0x55D0CA400000), (0x7F0000000000, 0x7F0010000000), (0x7F0080000000, 0x7F0080020000)}
    assert list_regions(tmp_path / "maps") == wanted
    assert list_regions(tmp_path / "absent") == set()


def test_only_new_memory_is_moved(monkeypatch, advice, tmp_path):
    page = 2 * 2**20
    (tmp_path / "hpage_pmd_size").write_text(str(page))
    monkeypatch.setattr(large_pages, "_SETTINGS", tmp_path)
    old = {(0, 3 * page), (40 * page, 50 * page), (200 * page, 300 * page)}
    now = {(0, 20 * page + 1), (30 * page - 1, 90 * page), (200 * page, 300 * page), (400 * page, 402 * page)}
    monkeypatch.setattr(large_pages, "list_regions", lambda: now)
    use_large_pages(old)
    assert advice == [(first * page, n * page, 14) for first, n in ((3, 17), (30, 10), (50, 40))]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_kernel_that_refuses_changes_nothing(advice):
    before = list_regions()
    memory = allocate()
    assert use_large_pages(before) == 0
    numbers = {number for _, _, number in advice}
    assert numbers <= {14}, "nothing is moved where large pages are refused"
    assert memory[:1] == b"*"
    assert not has_large_pages()


def test_another_system_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(large_pages, "_SETTINGS", tmp_path)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)  # asking its library would raise
    assert not has_large_pages()
    assert use_large_pages([]) == 0
    assert not large_pages._advise(0, 0, 25)


@pytest.mark.parametrize(
    ("setting", "kernel_can", "wanted"),
    [
        ("always [madvise] never", True, True),
        ("always madvise [never]", True, False),
        ("[always] madvise", False, False),
    ],
)
def test_settings_of_the_system_decide(monkeypatch, tmp_path, setting, kernel_can, wanted):
    (tmp_path / "enabled").write_text(setting)
    monkeypatch.setattr(large_pages, "_SETTINGS", tmp_path)
    monkeypatch.setattr(large_pages, "_advise", lambda address, length, number: kernel_can)
    assert has_large_pages() is wanted


@pytest.mark.parametrize(
    ("free_kib", "group", "wanted"),
    [
        (2001, {}, True),
        (1999, {}, False),
        (9000, {"max": "max", "current": "5"}, True),
        (9000, {"max": "3072000", "current": "1024000"}, False),
        (9000, {"max": "3072000", "current": "1024000", "stat": "anon 1\ninactive_file 1000\nactive_file 1000"}, True),
        (9000, {"max": "1024", "current": "4096"}, False),
    ],
)
def test_twice_the_file_must_be_free(monkeypatch, tmp_path, free_kib, group, wanted):
    (tmp_path / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:  {free_kib} kB\n")
    for name, text in group.items():
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr(large_pages, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(large_pages, "list_groups", lambda: [tmp_path])
    assert has_room(1000 * 1024) is wanted


def test_types_that_are_rearranged_in_memory_are_not_asked_for():
    assert [name for name, number in FILE_TYPES.items() if is_read_in_place(int(number))] == [
        *("F32", "F16", "BF16", "Q8_0")
    ]


@pytest.mark.parametrize("file_type", ["F16", "Q8_0"])
def test_answers_do_not_depend_on_pages(gguf_dir, monkeypatch, file_type):
    monkeypatch.setattr(engine_module, "has_large_pages", lambda: True)
    monkeypatch.setattr(engine_module, "has_room", lambda n_bytes: True)
    found = []
    for large in (False, True):
        with Engine(gguf_dir / f"tiny-{file_type}.gguf", n_threads=1, large_pages=large) as engine:
            assert engine.large_pages is large
            scores = engine.score_labels(CHAT, EMOTIONS, '{"emotion": "')
            found.append((engine.generate(CHAT, max_tokens=40), list(scores.values())))
    assert found[0] == found[1]


@pytest.mark.parametrize(("file_type", "room"), [("Q4_K_M", True), ("Q8_0", False)])
def test_the_file_stays_mapped_where_nothing_is_gained(gguf_dir, monkeypatch, file_type, room):
    monkeypatch.setattr(engine_module, "has_large_pages", lambda: True)
    monkeypatch.setattr(engine_module, "has_room", lambda n_bytes: room)
    with Engine(gguf_dir / f"tiny-{file_type}.gguf", n_threads=1, large_pages=True) as engine:
        assert not engine.large_pages
