"""Push again and again while everything breaks, and see after each push that nothing is half, lost or double.

``python -m tests.hub.storm --pushes 20 --seed 17`` runs server and pushes in one process, fresh and without any setting
of the test run. Waits are cut short; everything else, the Hub's client too, is as it is.
"""

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

if __name__ == "__main__":  # read once, when the client is imported
    os.environ |= {"HF_HUB_DISABLE_XET": "1" if "--xet" not in sys.argv else "0", "HF_HUB_OFFLINE": "0"}

from huggingface_hub import HfApi

from hub_scripts.patience import HubError
from hub_scripts.payload import Payload, PayloadFile
from hub_scripts.publish import Target, push
from tests.hub_server import TOKEN, HubServer
from tests.hub_server.faults import Weather
from tests.hub_server.store import Repo

#: Chance of each kind of trouble per request; a push has about ten.
RATES = {
    "drop": 0.02,
    "lost": 0.02,
    "midway": 0.01,
    "503": 0.03,
    "429": 0.02,
    "507": 0.004,
    "slow": 0.01,
    "foreign /commit/": 0.3,
    "lost /commit/": 0.1,
}
REPOS = (("model", "lab/storm"), ("dataset", "lab/storm"), ("model", "lab/other"))
_FAST = 200


def make_payload(kind: str, rng: random.Random, folder: Path) -> Payload:
    """Return a payload of some files, small and large, as after another run of the stage."""
    names = rng.sample(["a.txt", "b.txt", "sub/c.json", "w.safetensors", "sub/d.bin", "m-Q8_0.gguf"], rng.randint(1, 5))
    contents = {name: _make_content(name, rng) for name in names}
    outputs = [{"name": name, "bytes": len(data)} for name, data in sorted(contents.items())]
    contents["manifest.json"] = json.dumps({"outputs": outputs}).encode()
    contents["README.md"] = f"---\nlicense: mit\n---\n\n# Storm {rng.randint(0, 1)}\n".encode()
    files = []
    for name, data in sorted(contents.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        files.append(PayloadFile(name, path))
    return Payload(kind, tuple(files), licence="mit", synthetic=True)


def _make_content(name: str, rng: random.Random) -> bytes:
    seed = rng.randint(0, 3)  # often the same as before
    if name.endswith((".txt", ".json")):
        return f'"{name} {seed}"'.encode()
    return b"\0" + random.Random(f"{name} {seed}").randbytes(30_000)


def read_ours(repo: Repo | None, revision: str = "main") -> dict[str, bytes]:
    """Return what is there apart from what others and the server itself put there."""
    if repo is None:
        return {}
    files = {path: blob.data for path, blob in repo.tree(revision).items()}
    return {path: data for path, data in files.items() if not path.startswith(("theirs", ".git"))}


def without_card(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return files without the one that others edit as well."""
    return {path: data for path, data in files.items() if path != "README.md"}


def count_ours(repo: Repo | None) -> int:
    """Return how many commits of ours are in main's history."""
    return sum(commit.title.startswith(("model:", "dataset:")) for commit in repo.history("main")) if repo else 0


def check_push(
    repo: Repo | None, before: dict[str, bytes], commits: int, wanted: dict[str, bytes], *, ended_well: bool
) -> None:
    """Assert that a push to main is complete or untouched, that its commit is there once, and others' all remain."""
    now, made = read_ours(repo), count_ours(repo) - commits
    untouched = not made and without_card(now) == without_card(before)
    assert now == wanted or (not ended_well and untouched), f"half: {sorted(now)} of {sorted(wanted)}"
    assert made == 1 or untouched, f"{made} commits for one push"
    assert made == 0 or before != wanted, "a commit though nothing had changed"
    if repo is not None:
        theirs = [title.removeprefix("theirs: ") for title in repo.titles if title.startswith("theirs")]
        assert set(theirs) <= set(repo.tree("main")), "a commit of somebody else was lost"
        assert len(repo.history("main")) == 1 + count_ours(repo) + len(theirs)


def check_proposal(repo: Repo, wanted: dict[str, bytes], *, ended_well: bool) -> None:
    """Assert that a proposal is there once."""
    open_ones = [p for p in repo.proposals if p.status == "open"]
    same = [p for p in open_ones if read_ours(repo, f"refs/pr/{p.number}") == wanted]
    assert len(same) == 1 or (len(same) == 0 and not ended_well), f"{len(same)} proposals of the same"


def run(pushes: int, seed: int, folder: Path, *, xet: bool) -> Counter[str]:
    """Push many times; return how the pushes ended and which faults struck."""
    told: Counter[str] = Counter()
    latest: dict[tuple[str, str], Payload] = {}
    with HubServer(xet=xet, delay_s=1.0) as server:
        server.faults.weather = Weather(seed, RATES)
        api = HfApi(endpoint=server.url, token=TOKEN)
        for number in range(pushes):
            rng = random.Random(f"{seed} {number}")
            kind, name = rng.choice(REPOS)
            again = (kind, name) in latest and rng.random() < 0.15
            payload = latest[kind, name] if again else make_payload(kind, rng, folder / str(number))
            latest[kind, name] = payload
            told[_push_and_check(server, api, payload, name, propose=rng.random() < 0.2)] += 1
        told.update({f"fault {kind}": count for kind, count in server.faults.struck.items()})
    return told


def _push_and_check(server: HubServer, api: HfApi, payload: Payload, name: str, *, propose: bool) -> str:
    key = (f"{payload.repo_type}s", name)
    repo = server.repos.get(key)
    propose = propose and repo is not None
    wanted = {file.name: file.content.read_bytes() for file in payload.files if isinstance(file.content, Path)}
    before, commits = read_ours(repo), count_ours(repo)
    try:
        outcome = push(payload, Target(name, create_pr=propose), api, sleep=lambda seconds: time.sleep(seconds))
        ended, told = "nothing to do" if outcome.url is None else "pushed", ""
    except HubError as error:
        ended, told = "gave up", str(error)
    assert len(told.splitlines()) <= 1
    assert TOKEN not in told
    repo = server.repos.get(key)
    well = ended != "gave up"
    if propose and repo is not None and wanted != before:
        assert count_ours(repo) == commits, "a proposal changed main"
        check_proposal(repo, wanted, ended_well=well)
        return f"proposal: {ended}"
    check_push(repo, before, commits, wanted, ended_well=well)
    return ended


def main() -> None:
    """Run and write the counts as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.hub.storm", description=__doc__)
    parser.add_argument("--pushes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--xet", action="store_true")
    parser.add_argument("--folder", required=True, type=Path)
    args = parser.parse_args()
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(seconds / _FAST)
    told = run(args.pushes, args.seed, args.folder, xet=args.xet)
    sys.stdout.write(json.dumps(told, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
