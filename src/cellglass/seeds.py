"""All randomness comes from one seed: each use derives its own stream from the seed and the use's name.

A stream depends on nothing else, so a stage that is run alone, or again after a kill, draws what it drew before.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

Words = np.ndarray[Any, np.dtype[np.uint64]]


def derive(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the use called `names`: the first bytes of sha256(seed/name/...)."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator for the use called `names`."""
    return np.random.default_rng(derive(seed, *names))


def lots(seed: int, use: str, names: Iterable[Any], which: np.ndarray[Any, Any], number: np.ndarray[Any, Any]) -> Words:
    """Return 64 bits for each pair of a name and a number, which depend on seed, use, name and number alone.

    Parameters
    ----------
    seed, use
        As in `derive`.
    names
        Such as those of cells.
    which : int, shape (n,)
        Position of each pair's name.
    number : int, shape (n,)
        Such as a gene.
    """
    of_names = np.array([derive(seed, use, str(name)) for name in names], dtype=np.uint64)
    return _mixed(of_names[which] ^ _mixed(number.astype(np.uint64)))


def _mixed(x: Words) -> Words:
    """Return 64 bits that depend on all bits of `x` (the finaliser of splitmix64, Steele et al. 2014)."""
    x = (x + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
