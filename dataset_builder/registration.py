"""``load_dataset("eeg-emotion-copilot", ...)`` after ``import dataset_builder``.

`datasets` has no way to announce a builder and no longer runs scripts. All its entrances (``load_dataset``,
``load_dataset_builder``, ``get_dataset_config_names``, streaming) ask one function what a name stands for, and that
function is wrapped here:

- our name with ``data_dir``: the builder, on that folder of raw data;
- our name without ``data_dir``: the published form, from the folder ``./eeg-emotion-copilot`` or else from the Hub;
- every other name: as before.

Nothing is imported for that: the wrapping waits until `datasets` is. Where a future `datasets` lacks the function, one
warning names the class to use instead and nothing else changes.
"""

import functools
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

#: The name that ``load_dataset`` is given, and the folder that a corpus is published as.
DATASET_NAME = "eeg-emotion-copilot"

#: Where the published form lies on the Hub.
HUB_ID = "eeg-emotion-copilot/eeg-emotion-copilot"

#: Environment variable with another place on the Hub, for a fork or a private copy.
HUB_ID_VARIABLE = "EEG_COPILOT_HUB_ID"

_LOADER = "datasets.load"
_FUNCTION = "dataset_module_factory"
#: Modules that took the function by name before we came.
_USERS = (_LOADER, "datasets.inspect", "datasets")


def register() -> None:
    """Make `datasets` know our name: now if it is imported already, otherwise when it will be. Safe to repeat."""
    if _LOADER in sys.modules:
        _wrap(sys.modules[_LOADER])
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def find_published() -> str:
    """Return where the published form is: the folder of that name, else the Hub."""
    return f"./{DATASET_NAME}" if Path(DATASET_NAME).is_dir() else os.environ.get(HUB_ID_VARIABLE) or HUB_ID


class _Finder:
    """Wraps the function right after its module was executed, then is gone."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if name != _LOADER:
            return None
        sys.meta_path.remove(self)
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_wrap(module: ModuleType) -> None:
                execute(module)
                _wrap(module)

            spec.loader.exec_module = execute_and_wrap  # type: ignore[method-assign]
        return spec


def _wrap(loader: ModuleType) -> None:
    original = getattr(loader, _FUNCTION, None)
    if getattr(original, "knows_eeg_emotion_copilot", False):
        return
    if not callable(original) or not hasattr(loader, "DatasetModule"):
        warnings.warn(
            f"this version of datasets does not let load_dataset({DATASET_NAME!r}, ...) be registered; "
            "use dataset_builder.builder.EEGEmotionCopilot(config_name=..., data_dir=...) instead",
            stacklevel=2,
        )
        return
    wrapped = _answer_for_our_name(original, loader)
    for user in _USERS:
        module = sys.modules.get(user)
        if getattr(module, _FUNCTION, None) is original:
            setattr(module, _FUNCTION, wrapped)


def _answer_for_our_name(original: Callable[..., Any], loader: ModuleType) -> Callable[..., Any]:
    @functools.wraps(original)
    def dataset_module_factory(path: str, *args: Any, **kwargs: Any) -> Any:
        if path != DATASET_NAME:
            return original(path, *args, **kwargs)
        if kwargs.get("data_dir") is None:
            return original(find_published(), *args, **kwargs)
        given = {"data_dir": str(kwargs["data_dir"]), "dataset_name": DATASET_NAME}
        return loader.DatasetModule("dataset_builder.builder", "", given)

    dataset_module_factory.knows_eeg_emotion_copilot = True  # type: ignore[attr-defined]
    return dataset_module_factory
