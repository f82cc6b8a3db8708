"""Which label of the cells names their donors, so that a difference can be asked of donors and not of cells alone.

It is the batch column that the run was told, and else the first label of categories that is called so.
"""

from __future__ import annotations

import re

from cellglass.cells.obs import safe_name
from cellglass.explorer.data.source import Source

_CALLED = re.compile(r"(donor|patient|individual|subject|participant|sample|batch|mouse|animal)s?([ _.-]?(id|name))?")
FEWEST = 2


def donor_label(source: Source) -> str | None:
    """Return the name of the label of donors, or None where the cells have none with at least two values."""
    told = source.atlas.manifest.get("config")
    told = told.get("cells") if isinstance(told, dict) else None
    batch = told.get("batch") if isinstance(told, dict) else None
    named = [safe_name(str(batch))] if batch else []
    named += [name for name in source.codes if _CALLED.fullmatch(name.lower())]
    for name in named:
        if name in source.codes and int((source.totals[name][1:] > 0).sum()) >= FEWEST:
            return name
    return None
