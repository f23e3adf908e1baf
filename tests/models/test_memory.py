"""What is asked of glibc about freed memory, and that it does it."""

import subprocess
import sys

import pytest

#: Four times an array of 40 MiB: how many new pages came for them, where nothing else uses memory.
COUNT_NEW_PAGES = """
import contextlib, resource, sys
from model_recipes.memory import keep_freed_memory
def fill():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        bytearray(40 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
with keep_freed_memory() if "keep" in sys.argv else contextlib.nullcontext(False) as taken:
    fill()
    print(taken, fill())
"""

#: Eight threads at once, then how many heaps glibc has.
COUNT_ARENAS = """
import ctypes, sys, threading
from model_recipes.memory import share_one_arena
taken = "share" in sys.argv and share_one_arena()
together = threading.Barrier(8)
def work():
    together.wait()
    return [bytes(2000) for _ in range(1000)]
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(library.fopen(sys.argv[1].encode(), b"w"))
library.malloc_info(0, file)
library.fclose(file)
print(taken, open(sys.argv[1]).read().count("<heap nr"))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="options of the C library of Linux")


def test_freed_memory_is_not_asked_for_again():
    def count(*words):
        command = [sys.executable, "-c", COUNT_NEW_PAGES, *words]
        taken, pages = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return taken, int(pages)

    usual = count()[1]
    taken, kept = count("keep")
    if taken == "False":
        pytest.skip("another C library than glibc")
    assert kept < usual / 10


def test_threads_share_one_heap(tmp_path):
    def count(*words):
        command = [sys.executable, "-c", COUNT_ARENAS, str(tmp_path / "heaps.xml"), *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.split()

    assert count()[0] == "False"
    taken, heaps = count("share")
    if taken == "False":
        pytest.skip("another C library than glibc")
    assert int(heaps) == 1 < int(count()[1])
