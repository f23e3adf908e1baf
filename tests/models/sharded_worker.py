"""FSDP2 without GPUs, for a test; started by accelerate in a folder with a model and a corpus.

accelerate shares weights among accelerators only: a group on processors (its type MULTI_CPU) trains with DDP whatever
the configuration says. PyTorch's ``fully_shard`` itself runs over gloo, so the group is given out as one of GPUs.
"""

import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from distributed_worker import ADAPTER
from torch import distributed as network

from model_recipes.adapter import train_adapter
from model_recipes.training import distributed
from model_recipes.training.adapter_lessons import Course
from model_recipes.training.answer_trainer import AnswerTrainer


def pretend_gpus() -> None:
    """Join the group and have accelerate take it for one of GPUs whose device is the processor."""
    network.init_process_group("gloo")
    PartialState._prepare_backend = lambda self, *_args, **_options: ("gloo", DistributedType.MULTI_GPU)
    distributed.is_sharded = lambda: False  # where processes join, which would refuse this; not where they train
    PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))


def tell_sharing() -> None:
    """Print what the model of a training is made of."""
    train = Course._train

    def train_and_tell(self: Course, *args: object) -> AnswerTrainer:
        trainer = train(self, *args)
        weights = {type(weight.data).__name__ for weight in trainer.model_wrapped.parameters()}
        bases = {base.__name__ for base in type(trainer.model_wrapped).__mro__}
        kind = "FSDPModule" if "FSDPModule" in bases else "whole model"
        sys.stdout.write(f"{kind} of {', '.join(sorted(weights))}\n")
        return trainer

    Course._train = train_and_tell


if __name__ == "__main__":
    pretend_gpus()
    tell_sharing()
    train_adapter(ADAPTER, Path("recovered"), Path("eeg-emotion-copilot"), Path("adapter-sharded"), "cpu")
