"""Errors that a user can cause and repair; scripts print them as one line and exit with code 2."""

from typing import ClassVar


class CopilotError(Exception):
    """Base of all our errors. The message is one line: which file or key, what was found, what is accepted."""

    #: Whether the same command may go on from where it stopped.
    resumable: ClassVar[bool] = False


class InputError(CopilotError):
    """A file or folder given by the user cannot be used."""


class RecipeError(CopilotError):
    """A recipe or an option holds an unknown key, a wrong type or a value out of range."""


class StageError(CopilotError):
    """A stage finished its work but its own check of the result failed; nothing was kept."""


class AuditError(CopilotError):
    """The rows of a corpus would tell a model more than the EEG does; nothing was kept."""


class DependencyError(CopilotError):
    """An optional package that this command needs is not installed."""


class ResourceError(CopilotError):
    """The machine ran out of something (disk, memory); what is done is kept and the same command goes on from there."""

    resumable: ClassVar[bool] = True
