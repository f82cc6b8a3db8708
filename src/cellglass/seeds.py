"""All randomness comes from one seed: each use derives its own stream from the seed and the use's name.

A stream depends on nothing else, so a stage that is run alone, or again after a kill, draws what it drew before.
"""

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the use called `names`: the first bytes of sha256(seed/name/...)."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator for the use called `names`."""
    return np.random.default_rng(derive(seed, *names))
