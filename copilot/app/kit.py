"""How the page is put together: components with words in every language, views of the session, and what buttons do."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from copilot.app.session import Session
from copilot.app.words import Words, load_words
from dataset_builder.errors import CopilotError

#: What a component shows, as keyword arguments of its update.
Update = Callable[[Session], Any]

#: What a button does with the session and the values of components; a text that it returns is told to the user.
Action = Callable[..., str | None]


@dataclass(frozen=True)
class _Wiring:
    trigger: Callable[..., Any]
    action: Callable[..., Any]
    inputs: tuple[Any, ...]
    groups: tuple[str, ...]
    target: Any
    options: dict[str, Any]


class Kit:
    """Collects what the tabs need, and connects it when all of them are there.

    Parameters
    ----------
    state : gr.State
        Holds the tab's `Session`.
    """

    def __init__(self, state: gr.State) -> None:
        self.state = state
        self._worded: list[tuple[Any, dict[str, Any]]] = []
        self._shown: list[tuple[Any, str, Update]] = []
        self._wirings: list[_Wiring] = []

    def make(
        self, kind: Callable[..., Any], *, say: dict[str, Any], fill: dict[str, object] | None = None, **options: Any
    ) -> Any:
        """Make a component whose words follow the language.

        Parameters
        ----------
        kind : callable
            A component of Gradio.
        say : dict of str to (str or list)
            Property -> key of the words; of ``choices`` a list of (key, value).
        fill : dict, optional
            Places in the texts.
        **options
            Passed on.
        """
        keys = say | ({"_fill": fill} if fill else {})
        if kind is gr.Textbox:
            options.setdefault("value", "")  # otherwise an untouched box gives None
        component = kind(**_speak(keys, load_words("en")), **options)
        self._worded.append((component, keys))
        return component

    def view(self, group: str, show: Callable[[Session], str], **options: Any) -> gr.HTML:
        """Add a part of the page that `views` renders."""
        component = gr.HTML(padding=False, **options)
        self.follow(component, group, lambda session: gr.update(value=show(session)))
        return component

    def follow(self, component: Any, group: str, update: Update) -> Any:
        """Let a component follow the session whenever its group is shown anew."""
        self._shown.append((component, group, update))
        return component

    def on(
        self,
        trigger: Callable[..., Any],
        action: Callable[..., Any],
        inputs: Sequence[Any] = (),
        groups: Iterable[str] = (),
        target: Any = None,
        **options: Any,
    ) -> None:
        """Remember what happens when a component is used.

        Parameters
        ----------
        trigger : callable
            Such as ``button.click``.
        action : callable
            Gets the session and the values of `inputs`. A generator shows its texts in `target` as they come.
        inputs : sequence of components
        groups : iterable of str
            What is shown anew afterwards.
        target : component, optional
            Where a generator shows its texts.
        **options
            Of the event.
        """
        self._wirings.append(_Wiring(trigger, action, tuple(inputs), ("message", *groups), target, options))

    def connect(self) -> None:
        """Connect all that was remembered."""
        for wiring in self._wirings:
            shown = [(component, update) for component, group, update in self._shown if group in wiring.groups]
            outputs = [component for component, _ in shown]
            make = _make_runner if wiring.target is None else _make_streamer
            if wiring.target is not None:
                outputs.insert(0, wiring.target)
            run = make(wiring.action, [update for _, update in shown])
            options = {"show_progress": "hidden", "api_visibility": "private"} | wiring.options
            wiring.trigger(run, [self.state, *wiring.inputs], outputs, **options)

    @property
    def groups(self) -> tuple[str, ...]:
        """All groups, each once."""
        return tuple(dict.fromkeys(group for _, group, _ in self._shown))

    @property
    def every(self) -> list[Any]:
        """All components that change with the language or the session, as `translate` updates them."""
        return [component for component, _ in self._worded] + [component for component, _, _ in self._shown]

    def translate(self, session: Session) -> list[Any]:
        """Return updates of all components of `every`, in the session's language."""
        worded = [gr.update(**_speak(keys, session.words)) for _, keys in self._worded]
        return worded + [update(session) for _, _, update in self._shown]


def guard(session: Session, work: Callable[[], str | None]) -> None:
    """Do a step; what it says, or why it failed, becomes the session's message.

    Whatever goes wrong is told in one line without any traceback: those may quote a file.
    """
    session.failed = False
    if session.closed:
        session.message, session.failed = session.words("page.closed"), True
        return
    try:
        session.message = work() or ""
    except CopilotError as error:
        session.message, session.failed = str(error), True
    except Exception as error:  # the page must go on, and nobody's data may end in a terminal
        session.message = session.words("page.failed_unexpectedly", kind=type(error).__name__)
        session.failed = True


def _make_runner(action: Action, updates: list[Update]) -> Callable[..., Any]:
    def run(session: Session | None, *values: Any) -> Any:
        if session is None:  # the page is not quite there yet
            shown = [gr.skip()] * len(updates)
        else:
            guard(session, lambda: action(session, *values))
            shown = _show(updates, session)
        return shown if len(shown) > 1 else shown[0]  # Gradio takes a list for one component as its value

    return run


def _make_streamer(action: Callable[..., Iterator[str]], updates: list[Update]) -> Callable[..., Iterator[list[Any]]]:
    """Return an event that shows each text of a generator, then everything."""

    def stream(session: Session, *values: Any) -> Iterator[list[Any]]:
        steps = _Steps(action(session, *values))
        try:
            while True:
                guard(session, steps.advance)
                if steps.text is None:
                    yield [gr.skip(), *_show(updates, session)]
                    return
                yield [gr.update(value=steps.text), *[gr.skip()] * len(updates)]
        finally:
            steps.close()

    return stream


class _Steps:
    """A generator of texts whose return value is told to the user."""

    def __init__(self, steps: Iterator[str]) -> None:
        self._steps: Any = steps
        self.text: str | None = None

    def advance(self) -> str | None:
        """Take the next text; None in `text` when there is no more."""
        self.text = None
        try:
            self.text = next(self._steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        return None

    def close(self) -> None:
        self._steps.close()


def _show(updates: list[Update], session: Session) -> list[Any]:
    return [update(session) for update in updates]


def _speak(keys: dict[str, Any], words: Words) -> dict[str, Any]:
    """Return properties in words: a key becomes its text, a list of (key, value) becomes choices."""
    fill: dict[str, object] = keys.get("_fill") or {}
    return {
        name: [(words(k), value) for k, value in key] if isinstance(key, list) else words(key, **fill)
        for name, key in keys.items()
        if name != "_fill"
    }
