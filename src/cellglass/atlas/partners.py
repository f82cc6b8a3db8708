"""What `cellglass partners` left beside an atlas: which concepts get other genes with matched partners."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cellglass.atlas.schema import PARTNERS

_COLUMNS = ("name", "concept", "matching", "suspect")
CONTROL = "control"
"""The matching that is none."""


class Partners(NamedTuple):
    """What was found.

    Attributes
    ----------
    counts : dict
        By matching, ``concepts`` that were asked and ``suspect`` ones.
    suspect : dict
        By latent, the matchings with which it gets other genes; those without any are left out.
    """

    counts: dict[str, dict[str, int]]
    suspect: dict[int, list[str]]


def read_partners(folder: Path, var: pd.DataFrame) -> Partners | None:
    """Return what was found of the concepts of an atlas, whose table is `var`.

    None where nothing was asked, or of other concepts: the atlas was made anew since then.
    """
    place = folder / PARTNERS
    if not place.is_file():
        return None
    try:
        table = pd.read_csv(place, usecols=list(_COLUMNS))
    except (ValueError, OSError):  # no such table
        return None
    latents = dict(zip(map(str, var.index), var["latent"].tolist(), strict=True))
    concepts = table["concept"].to_numpy()
    known = [latents.get(name) == concept for name, concept in zip(table["name"].astype(str), concepts, strict=True)]
    if not all(known) or not len(table):
        return None
    sure = (table["suspect"].astype(str) == "True").to_numpy()
    matching = table["matching"].astype(str).to_numpy()
    counts = {
        str(name): {"concepts": int((matching == name).sum()), "suspect": int(sure[matching == name].sum())}
        for name in dict.fromkeys(matching)
    }
    suspect: dict[int, list[str]] = {}
    for concept, name in zip(concepts[sure], matching[sure], strict=True):
        if name != CONTROL:
            suspect.setdefault(int(concept), []).append(str(name))
    return Partners(counts, suspect)
