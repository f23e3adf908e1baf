"""Templates of the page's parts; whatever a file or a model says is escaped."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from copilot.app.session import Session


def render(name: str, session: Session, **values: Any) -> str:
    """Return a part of the page.

    Parameters
    ----------
    name : str
        Of a template.
    session : Session
        Its words are ``w`` there.
    **values
        What the template names besides.
    """
    return _environment().get_template(f"{name}.html.jinja").render(w=session.words, **values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("copilot.app"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
