"""Errors that a user can cause and repair; scripts print them as one line and exit with code 2."""

from typing import ClassVar

#: Longest message, letters; what was found can be as long as a file.
_MAX_LETTERS = 1000


class CopilotError(Exception):
    """Base of all our errors. The message is one line: which file or key, what was found, what is accepted.

    What was found may be anything that a file holds. So that it can neither break the line nor command a terminal,
    letters that do not print are written as escapes, and the middle of a very long message is left out.
    """

    #: Whether the same command may go on from where it stopped.
    resumable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(_to_one_line(message))


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


def _to_one_line(message: str) -> str:
    if not message.isprintable():
        message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in message)
    if len(message) > _MAX_LETTERS:
        message = f"{message[: _MAX_LETTERS // 2]} ... {message[-_MAX_LETTERS // 2 + 5 :]}"
    return message
