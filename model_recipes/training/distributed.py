"""Several processes at one training: who they are, what they share, and that only the first writes.

``accelerate launch`` and ``torchrun`` start the processes and name them by environment variables; without those there
is one, and nothing here does anything. All processes must see the same folders.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as network

from dataset_builder.errors import InputError
from dataset_builder.manifest import Manifest, read_manifest
from dataset_builder.recipe import StrictModel
from dataset_builder.stage import Stage, find_finished, open_stage

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """The processes of a training, as one of them sees it.

    Parameters
    ----------
    rank : int
        Which one this is, from 0.
    count : int
    """

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            network.barrier()

    def share(self, value: Value) -> Value:
        """Return the first process's value to all."""
        if self.count == 1:
            return value
        box = [value]
        network.broadcast_object_list(box, src=0)
        return box[0]

    def take_part(self, batch: Tensor) -> Tensor:
        """Return this process's rows of a batch; all parts are equally large, so means of parts average to the mean."""
        return batch[self.rank :: self.count]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over all processes, in place and in one message."""
        if self.count == 1 or not tensors:
            return
        joined = torch.cat([tensor.flatten() for tensor in tensors])
        network.all_reduce(joined)
        joined /= self.count
        parts = joined.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def join_processes(device: str = "auto") -> Processes:
    """Join the other processes of this training, if a launcher started any.

    Parameters
    ----------
    device : str
        ``"cpu"`` joins through gloo. With ``"auto"`` and ``"cuda"`` each process takes the GPU of its local rank, where
        there is one.

    Raises
    ------
    InputError
        If there are more local processes than GPUs, or FSDP was asked for without GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes()
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if on_cpu and is_sharded():
        # accelerate would train with DDP, every process with the whole model, and say nothing.
        raise InputError("launch: FSDP shares a model among GPUs, found none to use; accepted: GPUs, or DDP")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if not on_cpu and local >= torch.cuda.device_count():
        raise InputError(f"launch: local process {local + 1} finds {torch.cuda.device_count()} GPUs; start as many")
    from accelerate import PartialState  # names the group that TRL will use as well

    state = PartialState(cpu=on_cpu)
    return Processes(state.process_index, state.num_processes)


def refuse_company(name: str) -> None:
    """Refuse to be one of several processes, where they would all do the same work and write the same folder.

    Parameters
    ----------
    name : str
        Of the command.

    Raises
    ------
    InputError
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if count != "1":
        raise InputError(f"{name}: started as one of {count} processes; accepted: one, without accelerate or torchrun")


def is_main_process() -> bool:
    """Tell whether this process speaks to the person who started the training."""
    return os.environ.get("RANK", "0") == "0"


def is_sharded() -> bool:
    """Tell whether the launcher asked for FSDP: no process then holds the whole model."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")


def check_sharing(checkpoint: str | Path | None) -> None:
    """Refuse a checkpoint of FSDP without FSDP, and the other way round: they hold different files.

    Parameters
    ----------
    checkpoint : str or Path or None
        Folder that Transformers wrote; nothing is checked without one.

    Raises
    ------
    InputError
    """
    if checkpoint is None:
        return
    began = "with" if any(Path(checkpoint).glob("pytorch_model_fsdp*")) else "without"
    if (began == "with") != is_sharded():
        raise InputError(f"adapter: its training began {began} FSDP; accepted: go on {began} it, or another --out")


def divide_batch(batch_size: int, processes: Processes, name: str) -> int:
    """Return how many rows of a batch each process takes.

    A recipe's batch is that of one update, however many processes share it; so the same recipe gives the same training.

    Raises
    ------
    InputError
        If they cannot share it equally.
    """
    if batch_size % processes.count:
        raise InputError(f"{name}: {batch_size} rows cannot be shared by {processes.count} processes equally")
    return batch_size // processes.count


@contextmanager
def open_shared_stage(
    processes: Processes, name: str, out: str | Path, recipe: StrictModel, **known: Any
) -> Iterator[Stage]:
    """Open a stage in the first process; the others get the same open folder and a stage that is thrown away.

    Parameters
    ----------
    processes : Processes
    name, out, recipe, **known
        As for `dataset_builder.stage.open_stage`.

    Yields
    ------
    Stage
    """
    if processes.is_main:
        with open_stage(name, out, recipe, **known) as stage:
            processes.wait()
            yield stage
            processes.wait()  # nobody reads the open folder any more
    else:
        processes.wait()
        folder = Path(out).with_name(Path(out).name + ".partial")
        yield Stage(folder=folder)
        processes.wait()
    processes.wait()


def find_shared(processes: Processes, name: str, out: str | Path, recipe: StrictModel, **known: Any) -> Manifest | None:
    """Return what `dataset_builder.stage.find_finished` returns to the first process."""
    return processes.share(find_finished(name, out, recipe, **known) if processes.is_main else None)


def read_shared(processes: Processes, stage: Stage, out: str | Path) -> Manifest:
    """Return the manifest of a stage that was just finished."""
    return stage.manifest if stage.manifest is not None else read_manifest(out)
