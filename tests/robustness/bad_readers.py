"""Readers that do what readers must not do: the fuzzer has to see each of them."""

import os
import signal
from abc import abstractmethod
from pathlib import Path
from typing import Any

from dataset_builder.errors import InputError
from tests.robustness.targets import Target


class BadReader(Target):
    """Reads the valid file and misbehaves over any other."""

    files, weight = {"x.txt": "text"}, 1
    name = "bad"

    def build(self, folder: Path) -> None:
        self.valid = b"one,two\n" * 20
        self.folder = folder
        (folder / "x.txt").write_bytes(self.valid)

    def read(self, folder: Path) -> Any:
        if (folder / "x.txt").read_bytes() != self.valid:
            self.misbehave()
        return True

    @abstractmethod
    def misbehave(self) -> None:
        """Do it."""


class Executes(BadReader):
    def misbehave(self) -> None:
        self.folder.with_name(f"{self.folder.name}-canary").mkdir(exist_ok=True)


class Reaches(BadReader):
    def misbehave(self) -> None:
        Path("/etc/hostname").exists()
        (self.folder / "written").write_text("by a reader")


class Crashes(BadReader):
    def misbehave(self) -> None:
        raise KeyError("x")


class TellsPaths(BadReader):
    def misbehave(self) -> None:
        raise InputError(f"{self.folder}: is damaged")


class TakesMemory(BadReader):
    def misbehave(self) -> None:
        self.taken = bytearray(2**33)


class Dies(BadReader):
    def misbehave(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Hangs(BadReader):
    def misbehave(self) -> None:
        while True:
            pass


BAD_READERS: dict[str, type[Target]] = {
    "bad-exec": Executes,
    "bad-reach": Reaches,
    "bad-crash": Crashes,
    "bad-path": TellsPaths,
    "bad-memory": TakesMemory,
    "bad-death": Dies,
    "bad-hang": Hangs,
}
