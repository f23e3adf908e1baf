"""Where a run ran: versions, hardware, state of the code; nothing that names a person or a machine."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

#: Packages whose versions can change a result.
PACKAGES = (
    "accelerate datasets gguf huggingface-hub libgguf mne numpy peft pyarrow PyWavelets safetensors scikit-learn scipy "
    "tokenizers torch torch-pruning transformers trl xllamacpp"
).split()


@cache
def describe_hardware() -> dict[str, Any]:
    """Return processor, cores, memory and accelerator; never a host or user name."""
    facts: dict[str, Any] = {"machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count()}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        facts["processor"] = models[0] if models else platform.machine()
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["cuda"] = torch.cuda.get_device_name(0)
    return facts


@cache
def list_package_versions() -> dict[str, str]:
    """Return the versions of Python and of every installed package of `PACKAGES`."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def describe_code() -> dict[str, Any]:
    """Return our version and, in a checkout, the git commit and whether files differ from it."""
    here = Path(__file__).parent
    facts: dict[str, Any] = {"version": read_own_version()}
    git = ["git", "-C", str(here)]
    try:
        if not (here.parent / ".git").exists():
            return facts
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return facts
    return facts | {"commit": commit.stdout.strip(), "dirty": bool(dirty.stdout.strip())}


def read_own_version() -> str:
    """Return the version of this project, ``"0"`` where it is not installed."""
    try:
        return metadata.version("eeg-emotion-copilot")
    except metadata.PackageNotFoundError:
        return "0"
