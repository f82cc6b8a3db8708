"""Known pairs of genes, a source and a target, from a file or from the table that is bundled. Knows no model."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cellglass.errors import InputError

COLUMNS = ("source", "target", "sign")
_SOURCES = ("source", "tf", "regulator", "ligand", "from", "gene1", "gene_1", "gene a")
_TARGETS = ("target", "receptor", "regulated", "to", "gene2", "gene_2", "gene b")
_MODES = ("mode", "sign", "regulation", "effect", "direction")
_SIGNS = {
    **dict.fromkeys(("activation", "activator", "activates", "positive", "up", "+", "1", "+1", "1.0"), 1),
    **dict.fromkeys(("repression", "repressor", "inhibition", "represses", "negative", "down", "-", "-1", "-1.0"), -1),
    **dict.fromkeys(("unknown", "", "0", "0.0", "na", "nan", "?"), 0),
}
_FORMATS = "give TRRUST's format (source, target, mode, references between tabs), or two columns between tabs or commas"


class Regulation(NamedTuple):
    """Known pairs of genes.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a pair, no pair twice: ``source``, ``target``, and ``sign``: 1 for activation, -1 for repression, 0
        where it is not known or the rows of the file disagree.
    origin : str
        The file, or ``bundled``.
    """

    table: pd.DataFrame
    origin: str

    @property
    def genes(self) -> list[str]:
        """All genes, each once, in order of first appearance."""
        return list(dict.fromkeys(self.table[["source", "target"]].to_numpy().ravel().tolist()))

    def within(self, symbols: Iterable[str]) -> Within:
        """Return the pairs of which both genes are among `symbols`, spelled as there; case does not matter.

        A pair of a gene with itself is left out, since a gene says nothing of itself.
        """
        known: dict[str, str] = {}
        for symbol in symbols:
            known.setdefault(str(symbol).upper(), str(symbol))
        missing = [gene for gene in self.genes if gene.upper() not in known]
        table = self.table.copy()
        for name in COLUMNS[:2]:
            table[name] = [known.get(gene.upper()) for gene in self.table[name]]
        kept = table["source"].notna() & table["target"].notna() & (table["source"] != table["target"])
        found = Regulation(_once(table[kept]), self.origin)
        return Within(found, missing, len(self.table) - len(found.table))


class Within(NamedTuple):
    """The pairs of which both genes are known somewhere.

    Attributes
    ----------
    pairs : Regulation
    missing : list of str
        Genes that are not.
    left_out : int
        Pairs that went with them, or are of a gene with itself.
    """

    pairs: Regulation
    missing: list[str]
    left_out: int


def read_regulation(path: Path | str) -> Regulation:
    """Return the pairs of a file.

    Parameters
    ----------
    path
        TRRUST's format: source, target, mode (Activation, Repression, Unknown) and references between tabs, no header.
        Or two columns, between tabs or commas, with a header (``source`` or ``tf`` or ``ligand``, ``target`` or
        ``receptor``; also ``mode``) or without. Lines that begin with ``#`` are left out. UTF-8.

    Raises
    ------
    InputError
        No such file, no text, a line with fewer than two columns or without a gene, a mode that is none, or no pair.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8; {_FORMATS}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {_FORMATS}") from None
    return _read(text, str(path))


def bundled_regulation() -> Regulation:
    """Return the pairs that come with cellglass: of blood cells, each with its reference in the file."""
    file = resources.files("cellglass.circuits") / "biology" / "bundled" / "regulation.tsv"
    return _read(file.read_text(encoding="utf-8"), "bundled")


def _read(text: str, origin: str) -> Regulation:
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if not lines:
        raise InputError(f"{origin}: there is no pair of genes in it; {_FORMATS}")
    mark = "\t" if "\t" in lines[0][1] else ","
    cells = [
        [cell.strip() for cell in row]
        for row in csv.reader((line for _, line in lines), delimiter=mark, quoting=csv.QUOTE_MINIMAL)
    ]
    if len(cells) != len(lines):
        raise InputError(f"{origin}: a quotation mark is opened and not closed; {_FORMATS}")
    rows = list(zip((n for n, _ in lines), cells, strict=True))
    at = _header([cell.lower() for cell in rows[0][1]])
    if at is None:
        at = [0, 1, *([2] if max(len(row) for _, row in rows) > 2 else [])]
    else:
        rows = rows[1:]
    found = []
    for line, row in rows:
        if len(row) <= max(at[:2]) or not row[at[0]] or not row[at[1]]:
            raise InputError(f"{origin}, line {line}: there are no two genes in {mark.join(row)[:60]!r}; {_FORMATS}")
        word = row[at[2]] if len(at) > 2 and len(row) > at[2] else ""
        if word.lower() not in _SIGNS:
            raise InputError(
                f"{origin}, line {line}: {word[:40]!r} is no mode; write Activation, Repression or Unknown in the "
                "third column, or leave it out"
            )
        found.append((row[at[0]], row[at[1]], _SIGNS[word.lower()]))
    if not found:
        raise InputError(f"{origin}: there is no pair of genes below its header; {_FORMATS}")
    return Regulation(_once(pd.DataFrame(found, columns=list(COLUMNS))), origin)


def _header(cells: Sequence[str]) -> list[int] | None:
    """Return the places of source, target and, where there is one, mode; None where the row is no header."""
    places = [
        next((i for i, cell in enumerate(cells) if cell in names), None) for names in (_SOURCES, _TARGETS, _MODES)
    ]
    if places[0] is None or places[1] is None:
        return None
    return [place for place in places if place is not None]


def _once(table: pd.DataFrame) -> pd.DataFrame:
    """Return each pair once, whatever its case; a sign where all rows that know one agree."""

    def sign(values: pd.Series[Any]) -> int:
        known = set(values) - {0}
        return int(known.pop()) if len(known) == 1 else 0

    keys = [table[name].str.upper() for name in COLUMNS[:2]]
    made = table.groupby([key.rename(f"{key.name} key") for key in keys], sort=False).agg(
        source=("source", "first"), target=("target", "first"), sign=("sign", sign)
    )
    return made.reset_index(drop=True).astype({"sign": int})
