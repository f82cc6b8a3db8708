"""Opens a store of activations and reads it: rows by position, or shuffled batches, in bounded memory.

Opening checks the manifest and that no shard is missing or truncated (lengths, shapes); `Store.verify` reads
everything and checks the checksums. Reading is by memory-mapping, so only the pages of the rows asked for are
touched. It writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellglass.activations.manifest import Manifest, StoredSite, read_manifest
from cellglass.activations.rows import Ints, Rows
from cellglass.activations.shards import Shard
from cellglass.errors import InputError
from cellglass.files import sha256
from cellglass.progress import Progress, silent

_OPEN_SHARDS = 64


class Store:
    """A folder of captured activations; `open_store` opens one.

    Attributes
    ----------
    folder : Path
        Where it lies.
    sites : mapping of str to StoredSite
        What each site is and how it is kept.
    n_cells : int
        Number of cells.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest: Manifest = read_manifest(self.folder)
        if not self.manifest.complete:
            raise InputError(
                f"{self.folder}: the capture stopped at cell {self.manifest.next_cell} of {self.manifest.n_cells}; "
                "run the same capture again, it goes on from there"
            )
        self.sites: Mapping[str, StoredSite] = self.manifest.sites
        self.n_cells = self.manifest.n_cells
        self._rows = {name: StoreRows(self, name) for name in self.sites}

    def rows(self, site: str) -> StoreRows:
        """Return the rows of `site`; InputError names the sites that there are."""
        if site not in self._rows:
            raise InputError(f"{self.folder}: holds no site {site!r}; its sites are: {', '.join(self._rows)}")
        return self._rows[site]

    def n_rows(self, site: str) -> int:
        """Return the number of rows of `site`."""
        return self.rows(site).n_rows

    def read(self, site: str, rows: Ints | Sequence[int] | None = None) -> torch.Tensor:
        """Return rows of `site` by position, float32 (len(rows), width); None means all."""
        of = self.rows(site)
        return of.read(of.positions(rows))

    def sd(self, site: str, rows: Ints | Sequence[int] | None = None) -> torch.Tensor:
        """Return posterior standard deviations by position, float32 (len(rows), width)."""
        of = self.rows(site)
        return of.read_sd(of.positions(rows))

    def batches(self, site: str, *, batch_size: int, **options: Any) -> Iterator[torch.Tensor]:
        """Yield the rows of `site` in batches; `options` are those of `cellglass.activations.rows.Rows.batches`."""
        return self.rows(site).batches(batch_size=batch_size, **options)

    def verify(self, progress: Progress = silent) -> None:
        """Check every shard's sha256; InputError names the first shard that differs."""
        files = [file for shard in self.manifest.shards for file in shard.files.values()]
        for done, file in enumerate(files):
            if sha256(self.folder / file.file) != file.sha256:
                raise InputError(
                    f"{self.folder / file.file}: this shard is damaged (its checksum differs); "
                    "remove the store and capture again"
                )
            progress("verify activations", done + 1, len(files))

    def __repr__(self) -> str:
        sites = ", ".join(f"{name}: {self.n_rows(name)} x {site.width}" for name, site in self.sites.items())
        return f"Store({self.folder}, {self.n_cells} cells; {sites})"


class StoreRows(Rows):
    """The rows of one site of a store; made by `Store.rows`."""

    def __init__(self, store: Store, site: str) -> None:
        kept = store.sites[site]
        self.site, self.width, self.has_sd, self.granularity = site, kept.width, kept.spread, kept.granularity
        self._files = [store.folder / shard.files[site].file for shard in store.manifest.shards]
        counts = [shard.files[site].rows for shard in store.manifest.shards]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.n_rows = int(self._starts[-1])
        self._shard = lru_cache(maxsize=_OPEN_SHARDS)(Shard)
        for file, count in zip(self._files, counts, strict=True):
            shapes = Shard(file).shapes
            wanted = {"activations", "cell"} | ({"spread"} if self.has_sd else set())
            wanted |= {"gene"} if self.granularity == "token" else set()
            if set(shapes) != wanted or shapes["activations"] != (count, self.width) or shapes["cell"] != (count,):
                raise InputError(
                    f"{file}: this shard does not hold what the manifest says; remove the store and capture again"
                )

    def read(self, rows: Ints) -> torch.Tensor:
        """Return the rows at `rows`, in that order, float32."""
        return self._take("activations", rows, torch.empty(len(rows), self.width))

    def read_sd(self, rows: Ints) -> torch.Tensor:
        """Return the posterior standard deviations of the rows at `rows`, float32."""
        if not self.has_sd:
            raise InputError(f"no posterior standard deviation was kept at site {self.site!r}")
        return self._take("spread", rows, torch.empty(len(rows), self.width))

    def cells(self, rows: Ints | Sequence[int] | None = None) -> Ints:
        """Return the cell of each row, as its position in the data set."""
        chosen = self.positions(rows)
        return self._take("cell", chosen, torch.empty(len(chosen), dtype=torch.int64)).numpy()

    def genes(self, rows: Ints | Sequence[int] | None = None) -> Ints:
        """Return, at a token site, the gene of each row as its position among the model's genes."""
        if self.granularity != "token":
            raise InputError(f"site {self.site!r} has one row for each cell, so its rows have no gene")
        chosen = self.positions(rows)
        return self._take("gene", chosen, torch.empty(len(chosen), dtype=torch.int64)).numpy()

    def _take(self, name: str, rows: Ints, out: torch.Tensor) -> torch.Tensor:
        """Fill `out` with the rows at `rows` of the tensor called `name`, shard by shard."""
        order: np.ndarray[Any, Any] = np.argsort(rows, kind="stable")
        ordered = rows[order]
        edges = np.searchsorted(ordered, self._starts)
        for number in np.flatnonzero(np.diff(edges)):
            within = slice(edges[number], edges[number + 1])
            local = ordered[within] - self._starts[number]
            taken = self._shard(self._files[number]).take(name, local)
            out[torch.from_numpy(order[within])] = taken.to(out.dtype)
        return out


def open_store(folder: Path | str) -> Store:
    """Open the store in `folder`; InputError says what is wrong where it is no whole store."""
    return Store(folder)
