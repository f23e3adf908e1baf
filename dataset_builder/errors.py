"""Errors that a user can cause and repair; scripts print them as one line and exit with code 2."""


class CopilotError(Exception):
    """Base of all our errors. The message is one line: which file or key, what was found, what is accepted."""


class InputError(CopilotError):
    """A file or folder given by the user cannot be used."""


class RecipeError(CopilotError):
    """A recipe or an option holds an unknown key, a wrong type or a value out of range."""


class StageError(CopilotError):
    """A stage finished its work but its own check of the result failed; nothing was kept."""


class DependencyError(CopilotError):
    """An optional package that this command needs is not installed."""
