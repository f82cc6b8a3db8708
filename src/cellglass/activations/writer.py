"""Writes a store shard by shard: each file whole or not at all, then the manifest, so a killed capture goes on.

A shard holds whole batches of cells and closes once its sites together pass `shard_bytes`, so the shards depend on
the batches alone and not on where a capture was interrupted. It knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch

from cellglass.activations.manifest import NAME, Manifest, ShardEntry, ShardFile, StoredSite, read_manifest
from cellglass.activations.rows import Ints
from cellglass.activations.shards import DTYPES, write_shard
from cellglass.errors import InputError
from cellglass.files import remove_leftovers, sha256

SHARD_BYTES = 64 << 20


@dataclass(frozen=True)
class SiteBatch:
    """Rows of one site for consecutive cells.

    Attributes
    ----------
    values : torch.Tensor, (rows, width)
        Activations (posterior means where there is a posterior).
    cell : numpy.ndarray of int64, (rows,)
        The cell of each row, as its position in the data set; never decreasing.
    gene : numpy.ndarray of int64, (rows,), or None
        At a token site, the gene of each row as its position among the model's genes.
    sd : torch.Tensor, (rows, width), or None
        Posterior standard deviations.
    """

    values: torch.Tensor
    cell: Ints
    gene: Ints | None = None
    sd: torch.Tensor | None = None


class Writer:
    """Fills a store; `next_cell` says where to begin or go on.

    Parameters
    ----------
    folder
        The store. What a killed writer left there is gone on with if `n_cells`, `source` and `sites` are the same.
    n_cells
        Number of cells that the whole store will hold.
    source
        What the activations depend on, as text: the same text means the same activations.
    sites
        How each site is kept.
    shard_bytes
        A shard closes after the batch with which it holds at least this many bytes.
    """

    def __init__(
        self,
        folder: Path | str,
        n_cells: int,
        source: str,
        sites: Mapping[str, StoredSite],
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self.folder = Path(folder)
        self.shard_bytes = shard_bytes
        self.manifest = Manifest(n_cells, source, dict(sites))
        if (self.folder / NAME).exists():
            self.manifest = self._found(self.manifest)
        else:
            if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
                raise InputError(f"{self.folder}: is not empty and holds no store; choose another folder")
            self.folder.mkdir(parents=True, exist_ok=True)
            self.manifest.write(self.folder)
        remove_leftovers(self.folder)
        self._pending: list[Mapping[str, SiteBatch]] = []
        self._stop = self.manifest.next_cell
        self._bytes = 0

    @property
    def next_cell(self) -> int:
        """The first cell that has not been added."""
        return self._stop

    def add(self, stop: int, batch: Mapping[str, SiteBatch]) -> None:
        """Add the rows of the cells from `next_cell` to before `stop`, for each site."""
        if set(batch) != set(self.manifest.sites):
            raise InputError(f"the batch has sites {sorted(batch)}, the store has {sorted(self.manifest.sites)}")
        for name, part in batch.items():
            self._check(name, part, stop)
            self._bytes += part.values.numel() * DTYPES[self.manifest.sites[name].dtype].itemsize
        self._pending.append(batch)
        self._stop = stop
        if self._bytes >= self.shard_bytes:
            self._flush()

    def close(self) -> None:
        """Write what is left and mark the store complete; all cells must have been added."""
        if self._pending:
            self._flush()
        if self._stop != self.manifest.n_cells:
            raise InputError(f"{self.folder}: {self._stop} of {self.manifest.n_cells} cells were added; add the rest")
        if not self.manifest.complete:
            self.manifest.complete = True
            self.manifest.write(self.folder)

    def _found(self, wanted: Manifest) -> Manifest:
        found = read_manifest(self.folder)
        for what in ("n_cells", "source", "sites"):
            if getattr(found, what) != getattr(wanted, what):
                raise InputError(
                    f"{self.folder}: holds the activations of another capture ({what} differs); "
                    "remove it or choose another folder"
                )
        return found

    def _check(self, name: str, part: SiteBatch, stop: int) -> None:
        site = self.manifest.sites[name]
        rows = len(part.cell)
        if part.values.shape != (rows, site.width):
            raise InputError(
                f"site {name!r}: activations have shape {tuple(part.values.shape)}, not {(rows, site.width)}"
            )
        if (part.sd is not None) != site.spread or (part.gene is not None) != (site.granularity == "token"):
            raise InputError(f"site {name!r}: sd or gene is given for some cells and not for others")
        if rows and not (self._stop <= part.cell[0] and part.cell[-1] < stop and (np.diff(part.cell) >= 0).all()):
            raise InputError(f"site {name!r}: cells of this batch are not in order within {self._stop} to {stop - 1}")
        for tensor in (part.values, part.sd):
            if tensor is not None and not bool(torch.isfinite(tensor.to(DTYPES[site.dtype])).all()):
                raise InputError(
                    f"site {name!r}: activations of the cells {self._stop} to {stop - 1} are NaN, infinite or "
                    f"too large for {site.dtype}; try dtype float32, or look at these cells"
                )

    def _flush(self) -> None:
        number, files = len(self.manifest.shards), {}
        for name, site in self.manifest.sites.items():
            parts = [batch[name] for batch in self._pending]
            relative = f"{quote(name, safe='')}/{number:05d}.safetensors"
            tensors = _joined(parts, DTYPES[site.dtype])
            write_shard(self.folder / relative, tensors)
            files[name] = ShardFile(relative, len(tensors["cell"]), sha256(self.folder / relative))
        self.manifest.shards.append(ShardEntry((self.manifest.next_cell, self._stop), files))
        self.manifest.write(self.folder)
        self._pending, self._bytes = [], 0


def _joined(parts: list[SiteBatch], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the tensors of a shard."""
    tensors = {
        "activations": torch.cat([part.values for part in parts]).to(dtype),
        "cell": torch.from_numpy(np.concatenate([part.cell for part in parts]).astype(np.int32)),
    }
    sds = [part.sd for part in parts if part.sd is not None]
    genes = [part.gene for part in parts if part.gene is not None]
    if sds:
        tensors["spread"] = torch.cat(sds).to(dtype)
    if genes:
        tensors["gene"] = torch.from_numpy(np.concatenate(genes).astype(np.int32))
    return tensors
