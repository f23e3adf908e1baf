"""One seed per recipe, split into named streams, so that adding a subject never changes another one's numbers."""

import hashlib

import numpy as np


def make_rng(seed: int, *stream: str | int) -> np.random.Generator:
    """Return the random generator of one named stream.

    Parameters
    ----------
    seed : int
        The recipe's seed.
    *stream : str | int
        Name of the stream, for example ``"synthetic", "sub003", "signal"``.

    Returns
    -------
    numpy.random.Generator
        The same generator for the same seed and name, on every machine.
    """
    digest = hashlib.sha256("/".join(map(str, (seed, *stream))).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def derive_seed(seed: int, *stream: str | int) -> int:
    """Return a 31-bit seed for libraries that take one integer."""
    return int(make_rng(seed, *stream).integers(2**31))
