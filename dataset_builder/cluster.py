"""The same pass over the raw files on several machines, through Dask (extra ``cluster``).

Dask and not Ray: it is plain Python in one small wheel for every version that we support, runs inside the process for
tests, and its scheduler gives the work of a dead worker to another. Ray would bring an object store, actors and a wheel
of some 70 MB for work that is one function over many files. Whatever the engine, results do not depend on it.

A scheduler runs whatever it is sent: use one only on a network that you trust.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from dataset_builder.environment import read_own_version
from dataset_builder.errors import DependencyError, InputError, ResourceError

Result = TypeVar("Result")

#: The cluster of this machine, made for one build.
LOCAL = "local"

#: Tasks per thread that are under way: enough to keep workers busy, few enough to keep results out of memory.
_AHEAD = 2

#: Seconds to wait for a scheduler, and for its first worker.
_PATIENCE_S = 30

#: What workers of a local cluster start with: one thread of calculation each, and freed memory stays with the process
#: as it does without Dask. Dask's own threshold has the pages of every large array given back and filled with zeros
#: again: five times the page faults and twice the processor time of a recording. Sizes in bytes, see mallopt(3).
_WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": 1,
    "MKL_NUM_THREADS": 1,
    "OPENBLAS_NUM_THREADS": 1,
    "MALLOC_ARENA_MAX": 1,
    "MALLOC_MMAP_THRESHOLD_": 32 * 2**20,
    "MALLOC_TRIM_THRESHOLD_": 64 * 2**20,
}

#: Dask would look at what every worker does a hundred times a second, for a page that is switched off.
_LOCAL_SETTINGS = {
    "distributed.nanny.pre-spawn-environ": _WORKER_ENVIRONMENT,
    "distributed.worker.profile.enabled": False,
}


def run_on_cluster(
    address: str, work: Callable[[str], Result], items: Sequence[str], workers: int = 1
) -> Iterator[tuple[str, Result]]:
    """Yield each item with its result as soon as it is done.

    What a killed worker had under way is done again by another. Results travel back to this process, which alone
    writes; the raw files must be seen by all workers under the same path.

    Parameters
    ----------
    address : str
        ``"local"``, or a scheduler such as ``tcp://10.0.0.1:8786``.
    work : callable
        Picklable; from an item to a picklable result.
    items : sequence of str
    workers : int
        Processes of a local cluster; a scheduler has its own.

    Raises
    ------
    InputError
        If the scheduler cannot be reached, or its workers run another version of ours.
    ResourceError
        If an item killed several workers one after the other.
    DependencyError
        If Dask is not installed.
    """
    library = _import_library()
    with open_client(address, workers) as client:
        check_versions(client, address)
        names: dict[str, str] = {}

        def submit(item: str) -> Any:
            future = client.submit(work, item, pure=False)
            names[future.key] = item
            return future

        waiting = iter(items)
        ahead = _AHEAD * max(1, sum(client.nthreads().values()))
        done = library.as_completed([submit(item) for item in islice(waiting, ahead)], with_results=True)
        try:
            for future, result in done:
                yield names.pop(future.key), result
                done.update([submit(item) for item in islice(waiting, 1)])
        except library.KilledWorker as error:
            raise ResourceError(
                f"cluster: {names.get(str(error.task), 'an item')} killed several workers, perhaps for memory; what is "
                "done is kept, run again with more memory for each worker"
            ) from None


@contextmanager
def open_client(address: str, workers: int = 1) -> Iterator[Any]:
    """Connect to a scheduler, or make a local cluster that ends with the block.

    Yields
    ------
    distributed.Client
    """
    library = _import_library()
    if address != LOCAL:
        try:
            client = library.Client(address, timeout=_PATIENCE_S)
            client.wait_for_workers(1, timeout=_PATIENCE_S)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(
                f"cluster {address}: no scheduler with a worker answers ({type(error).__name__}); accepted: {LOCAL} or "
                "an address such as tcp://HOST:8786"
            ) from None
        with client:
            yield client
        return
    with _open_local(library, workers) as local, library.Client(local) as client:
        yield client


@contextmanager
def _open_local(library: Any, workers: int) -> Iterator[Any]:
    """Make a cluster of this machine; Dask sets what workers start with in this process too, which is undone."""
    import dask

    before = dict(os.environ)
    options = {"host": "127.0.0.1", "dashboard_address": None, "silence_logs": "ERROR"}
    try:
        with (
            dask.config.set(_LOCAL_SETTINGS),
            library.LocalCluster(n_workers=workers, threads_per_worker=1, **options) as cluster,
        ):
            yield cluster
    finally:
        _restore_environment(before)


def _restore_environment(before: dict[str, str]) -> None:
    for name in (*_WORKER_ENVIRONMENT, "PYTHONHASHSEED"):
        if name in before:
            os.environ[name] = before[name]
        else:
            os.environ.pop(name, None)


def check_versions(client: Any, address: str) -> None:
    """Refuse workers with another version of ours: their rows could differ.

    Raises
    ------
    InputError
    """
    own, found = read_own_version(), set(client.run(read_own_version).values())
    if found != {own}:
        raise InputError(f"cluster {address}: workers run version {', '.join(sorted(found))}, this process {own}")


def _import_library() -> Any:
    try:
        import distributed
    except ModuleNotFoundError:
        raise DependencyError("distributed is missing; pip install 'eeg-emotion-copilot[cluster]'") from None
    return distributed
