"""Serves the page with a made-up model until it is told to stop: ``python -m tests.copilot.app.serve_fake FOLDER``."""

import sys
from pathlib import Path

from copilot.app.privacy import PrivateFolder, close_environment


def main(folder: Path, hosted: bool, share: float) -> None:
    """Do what ``copilot.run_app`` does, with another engine."""
    private = PrivateFolder()
    close_environment(private.path)
    from copilot.app.desk import Desk, DeskOptions
    from copilot.app.launch import launch_page, wait_for_stop
    from copilot.app.models import ModelShelf
    from tests.copilot.app.app_fakes import StreamingEngine
    from tests.copilot.copilot_fakes import write_fake_gguf

    model = write_fake_gguf(folder / "models" / "tiny-F16.gguf")
    shelf = ModelShelf([model.parent], open_engine=lambda path, n_threads=None: StreamingEngine(share=share))
    desk = Desk(shelf, private, DeskOptions(hosted=hosted, max_mb=4))
    page, address = launch_page(desk)
    sys.stdout.write(f"open {address}\n")
    sys.stdout.flush()
    wait_for_stop()
    page.close(verbose=False)
    desk.close()


if __name__ == "__main__":
    # Unsure: no label has twice what guessing gives.
    main(Path(sys.argv[1]), "--hosted" in sys.argv, 0.15 if "--unsure" in sys.argv else 0.6)
