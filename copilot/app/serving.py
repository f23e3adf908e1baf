"""The page from its start to its end: the environment is closed, the page is served, nothing is left."""

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from model_recipes.memory import share_one_arena


def serve_page(
    models: Sequence[Path] | None,
    out: TextIO,
    *,
    port: int | None = None,
    inbrowser: bool = False,
    max_mb: int = 1024,
    n_threads: int | None = None,
    hosted: bool = False,
    sample: Path | None = None,
) -> None:
    """Serve the page until the process is asked to stop.

    Parameters
    ----------
    models : sequence of Path, or None
        GGUF files and folders with some; None: those in the usual places.
    out : text stream
        Gets the page's address and the last word.
    port : int, optional
    inbrowser : bool
        Opens the page in the user's browser.
    max_mb : int
        Largest file that is accepted, MB.
    n_threads : int, optional
        Threads of the engine.
    hosted : bool
        The computer is somebody else's; see `copilot.app.desk.DeskOptions`.
    sample : Path, optional
        Made-up EDF file that the page offers.

    Raises
    ------
    InputError
        If a place of models does not exist, or the port is taken.
    """
    from copilot.app.privacy import PrivateFolder, close_environment

    share_one_arena()  # before the server's threads start
    folder = PrivateFolder()
    desk = None
    try:
        close_environment(folder.path)  # before Gradio is imported below
        from copilot.app.desk import Desk, DeskOptions
        from copilot.app.launch import launch_page, wait_for_stop
        from copilot.app.models import ModelShelf, find_usual_places

        shelf = ModelShelf(find_usual_places() if models is None else models, n_threads)
        desk = Desk(shelf, folder, DeskOptions(hosted=hosted, max_mb=max_mb, sample=sample))
        page, address = launch_page(desk, port=port, inbrowser=inbrowser)
        out.write(f"open {address} (Ctrl-C stops it)\n")
        out.flush()
        desk.warm_up()
        wait_for_stop()
        page.close(verbose=False)
    finally:
        if desk is not None:
            desk.close()
        folder.remove()
    out.write("stopped; nothing of the session is left on this computer\n")


def serve_space(folder: Path, out: TextIO, *, space_id: str | None) -> None:
    """Serve the page from a Space's folder, as `copilot.space` writes it.

    Parameters
    ----------
    folder : Path
        Holds ``model/`` and ``sample.edf``.
    out : text stream
    space_id : str or None
        Set by the Hub where a Space runs. Then the page takes no recordings: they would leave their owner's computer.
        Without it the folder runs on the user's own computer, and the page is that of ``eeg-copilot app``.
    """
    serve_page([folder / "model"], out, hosted=bool(space_id), sample=folder / "sample.edf")
