"""What can go wrong with a local model, apart from the runtime so that callers need not load llama.cpp to catch it."""

from dataset_builder.errors import CopilotError


class EngineError(CopilotError):
    """A model could not be loaded or could not answer. The engine itself goes on and serves the next request."""


class UnfinishedError(EngineError):
    """An answer was stopped before its end.

    Parameters
    ----------
    message : str
        One line.
    text : str
        What was written until then; with a schema no whole JSON.
    """

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


class CancelledError(UnfinishedError):
    """`Engine.cancel` was called."""
