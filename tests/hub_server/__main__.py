"""Start the server and tell a shell how to reach it: ``python -m tests.hub_server --port 8765``."""

import argparse
import signal
import sys

from tests.hub_server import TOKEN, HubServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hub_server", description=__doc__)
    parser.add_argument("--port", type=int, default=8765, help="of the API; large files come from the next one")
    parser.add_argument("--lfs", action="store_true", help="without Xet: clients need HF_HUB_DISABLE_XET=1")
    args = parser.parse_args()
    with HubServer(xet=not args.lfs, ports=(args.port, args.port + 1 if args.port else 0)) as server:
        sys.stdout.write(f"export HF_ENDPOINT={server.url} HF_TOKEN={TOKEN} HF_HUB_DISABLE_TELEMETRY=1\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
