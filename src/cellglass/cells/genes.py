"""Genes of a file: find their ids, sum what occurs twice, and put cells into a model's order. Judges no counts.

What an id is, is said in ``gene_ids.py``. Symbols are left as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.cells.cells import Cells
from cellglass.cells.gene_ids import (
    aliases_in,
    are_counted,
    are_numbers,
    clean_ids,
    ensembl_in,
    mostly_ensembl,
    symbols_in,
)
from cellglass.cells.gene_names.tables import known_symbols
from cellglass.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneMap:
    """Which gene of the result each column of a matrix belongs to.

    Attributes
    ----------
    target : numpy.ndarray of int64, shape (n_columns,)
        Position in `genes`, or -1 for a column that is left out. Columns with one target are summed.
    genes : pandas.DataFrame
        The genes of the result, as in `Cells.genes`.
    """

    target: np.ndarray[Any, np.dtype[np.int64]]
    genes: pd.DataFrame

    def apply(self, counts: sp.csr_matrix) -> sp.csr_matrix:
        """Return ``counts @ S``, where S[i, target[i]] = 1, in canonical form; `counts` itself if nothing changes."""
        n = len(self.genes)
        if len(self.target) == n and np.array_equal(self.target, np.arange(n)):
            return counts
        kept = np.flatnonzero(self.target >= 0)
        ones = np.ones(len(kept), dtype=np.float32)
        chosen = sp.csr_matrix((ones, (kept, self.target[kept])), shape=(len(self.target), n))
        result = (counts @ chosen).tocsr()
        result.sort_indices()
        return result


def gene_map(var: pd.DataFrame, gene_ids: str | None, where: str) -> GeneMap:
    """Find ids and symbols in a file's table of genes.

    Parameters
    ----------
    var : pandas.DataFrame
        One row for each column of the matrix.
    gene_ids : str or None
        The column whose values are the ids; None takes the index.
    where : str
        File and slot, for messages.

    Returns
    -------
    GeneMap
        Its table has the column ``symbol`` (where no usual column tells one, what the bundled table says of a human or
        mouse Ensembl id, else the id) and, where the file tells Ensembl ids beside symbols, ``ensembl``, and other
        names, ``alias``. Genes without an id are left out, equal ids summed; both are logged.
    """
    var = var.loc[:, ~var.columns.duplicated()]
    names = clean_ids(var.index)
    ids = _ids(var, names, gene_ids, where)
    empty = ids == ""
    if empty.all():
        what = "there are no genes" if len(ids) == 0 else "no gene has an id"
        raise InputError(f"{where}: {what}; choose another slot, or the var column with the ids by gene_ids")
    if empty.any():
        log.warning("%s: left out %d genes without an id", where, int(empty.sum()))
    codes, unique = pd.factorize(pd.Series(ids).mask(empty))
    first = np.zeros(len(unique), dtype=np.int64)
    first[codes[~empty][::-1]] = np.flatnonzero(~empty)[::-1]
    if len(unique) < int((~empty).sum()):
        twice = unique[np.flatnonzero(np.bincount(codes[~empty]) > 1)]
        some = ", ".join(map(str, twice[:3]))
        log.warning("%s: summed the counts of %d gene ids that occur more than once (%s)", where, len(twice), some)
    found = symbols_in(var)
    named = ids if mostly_ensembl(names) or are_numbers(names) else names
    symbols = named if found is None else found[1]
    resolved = known_symbols(np.where(symbols == "", ids, symbols)[first])
    table = pd.DataFrame({"symbol": resolved}, index=pd.Index(unique, dtype=object))
    if not mostly_ensembl(ids):
        beside = ("", names) if mostly_ensembl(names) else ensembl_in(var)
        if beside is not None:
            table["ensembl"] = beside[1][first]
    others = aliases_in(var)
    if others is not None:
        table["alias"] = others[1][first]
    return GeneMap(codes.astype(np.int64), table)


def _ids(var: pd.DataFrame, names: np.ndarray[Any, Any], gene_ids: str | None, where: str) -> np.ndarray[Any, Any]:
    """Return the ids: of the column that is named, of var's index, or, where that only numbers them, of another."""
    columns = ", ".join(map(str, var.columns)) or "none"
    if gene_ids is not None:
        if gene_ids not in var:
            raise InputError(
                f"{where}: there is no var column {gene_ids!r} to take ids from; the columns are: {columns}"
            )
        asked = clean_ids(var[gene_ids])
        if are_numbers(asked):
            log.warning(
                "%s: the gene ids in var column %r are numbers; only cells that number the same genes alike meet them",
                where, gene_ids,
            )  # fmt: skip
        return asked
    if not are_counted(names):
        return names
    found = ensembl_in(var) or symbols_in(var)
    if found is not None:
        log.warning(
            "%s: var's index only numbers the genes; took their ids from column %r (gene_ids names another)",
            where, found[0],
        )  # fmt: skip
        return found[1]
    if are_numbers(names):
        raise InputError(
            f"{where}: the genes have no ids, var's index only numbers them; name the var column that holds them with "
            f"gene_ids (the columns are: {columns}), or set adata.var_names"
        )
    return names  # such as gene_7 of simulated cells, which nothing else names


def sum_duplicates(counts: sp.csr_matrix, ids: Sequence[str]) -> tuple[sp.csr_matrix, pd.Index[Any]]:
    """Sum the columns whose cleaned ids are equal; return the counts and the ids, in order of first appearance."""
    codes, unique = pd.factorize(clean_ids(ids))
    index = pd.Index(unique, dtype=object)
    return GeneMap(codes.astype(np.int64), pd.DataFrame({"symbol": unique}, index=index)).apply(counts), index


def align_genes(cells: Cells, ids: Sequence[str] | pd.Index[Any]) -> Cells:
    """Return `cells` with exactly the genes `ids`, in that order.

    A gene of the cells goes to the wanted gene of the same (cleaned) id; else, if that one was not found by id, to the
    one that equals its symbol, or its Ensembl id where the file told both. Several that go to one are summed. Wanted
    genes that the cells lack get count 0. The result's index is `ids` as given.

    Raises
    ------
    InputError
        If no gene is found, or `ids` are not unique.
    """
    wanted = pd.Index(ids, dtype=object)
    if wanted.equals(cells.genes.index):
        return cells
    cleaned = pd.Index(clean_ids(wanted))
    if not cleaned.is_unique:
        raise InputError(f"the wanted gene ids are not unique: {cleaned[cleaned.duplicated()][0]!r} occurs twice")
    target = cleaned.get_indexer(pd.Index(clean_ids(cells.genes.index))).astype(np.int64)
    for column in ("symbol", "ensembl"):
        if column in cells.genes:
            other = cleaned.get_indexer(pd.Index(clean_ids(cells.genes[column])))
            other[np.isin(other, target)] = -1
            target = np.where(target < 0, other, target)
    found = np.unique(target[target >= 0])
    if len(found) == 0:
        raise InputError(_no_match(cells, wanted))
    symbols = wanted.to_numpy(dtype=object).copy()
    known = np.flatnonzero(target >= 0)[::-1]
    symbols[target[known]] = cells.symbols[known]
    if len(found) < len(wanted):
        lacking = len(wanted) - len(found)
        log.info("%s: %d of %d wanted genes are not there and count 0", cells.source, lacking, len(wanted))
    table = pd.DataFrame({"symbol": symbols}, index=wanted)
    return Cells(GeneMap(target, table).apply(cells.counts), table, cells.obs, cells.obsm, cells.source)


def _no_match(cells: Cells, wanted: pd.Index[Any]) -> str:
    def style(ids: pd.Index[Any]) -> str:
        if len(ids) == 0:
            return "none"
        values = ids.to_numpy(dtype=object)
        kind = "Ensembl ids" if mostly_ensembl(values) else "numbers" if are_numbers(values) else "symbols"
        return f"{kind} such as {', '.join(repr(str(gene)) for gene in ids[:2])}"

    upper = {str(gene).upper() for gene in wanted}
    if are_numbers(wanted.to_numpy(dtype=object)):
        way_out = "numbers name no genes: fit or save the model with the genes' ids as adata.var_names"
    elif upper & {str(gene).upper() for gene in [*cells.genes.index, *cells.symbols]}:
        way_out = "they differ in upper and lower case: is it another species?"
    else:
        way_out = "read the cells with gene_ids naming the var column that holds ids of the wanted kind"
    return (
        f"{cells.source}: none of the {len(wanted)} wanted genes ({style(wanted)}) is among the {cells.n_genes} genes "
        f"of the cells ({style(cells.genes.index)}); {way_out}"
    )
