"""What is a gene id? Ensembl ids, symbols and mere numbers are told apart, and columns that hold ids are found.

Numbers are no ids: row numbers mean other genes in another file, with or without gaps, and nothing tells Entrez ids
from them. Ids are compared after cleaning: surrounding blanks go, and the version of an Ensembl id
(``ENSG00000167286.9`` becomes ``ENSG00000167286``; ``..._PAR_Y`` too, whose counts are added to its copy on X).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

_ENSEMBL = re.compile(r"(ENS[A-Z]{0,6}G\d{11})(\.\d+)?(_PAR_Y)?")
_NUMBER = re.compile(r"[+-]?\d+(\.0*)?([eE][+-]?\d+)?")
_COUNTED = re.compile(r"(gene|g|feature|var|variable|id|idx|index|row|col|column|x|v)?[\W_]*\d+", re.IGNORECASE)
_WORDS = frozenset({"nan", "none", "<na>", "na", "null"})
_SUFFIX = re.compile(r"[-_](\d+|x|y)$")
_SYMBOL_COLUMNS = (
    "symbol", "symbols", "gene_symbol", "gene_symbols", "genesymbol", "genesymbols", "hgnc_symbol", "mgi_symbol",
    "gene_name", "gene_names", "genename", "feature_name", "feature_names", "gene_short_name", "gene", "genes", "hgnc",
    "name", "names",
)  # fmt: skip
_ENSEMBL_COLUMNS = (
    "ensembl", "ensembl_id", "ensembl_ids", "ensemblid", "ensembl_gene_id", "gene_id", "gene_ids", "geneid",
    "feature_id", "feature_ids", "id", "accession",
)  # fmt: skip
ALIAS_COLUMNS = ("alias", "aliases", "alias_symbol", "gene_alias", "synonyms", "gene_synonyms")
"""Columns that have other names of a gene, several with ``;``, ``,`` or ``|`` between."""
_WELL_KNOWN = """
ACTB B2M GAPDH MALAT1 FTL FTH1 TMSB4X TMSB10 EEF1A1 TPT1 UBC CD3D CD3E CD4 CD8A CD14 CD19 CD74 CD79A MS4A1
NKG7 GNLY LYZ S100A8 S100A9 S100A4 S100A6 FCER1A CST3 PPBP HLA-A HLA-B HLA-DRA PTPRC VIM JUN JUNB FOS FOSB MYC
STAT1 ISG15 IFI6 TP53 KRT8 KRT18 KRT19 EPCAM COL1A1 COL3A1 PECAM1 VWF GCG INS SST ALB APOE HBB HBA1 CCL5 CCL4
IL7R LTB GZMB PRF1 XIST NEAT1 HSPA1A HSP90AA1 ENO1 LDHA PKM TUBA1B STMN1 MKI67 TOP2A SNAP25 GFAP MBP PLP1
"""
_FAMILIES = re.compile(r"RP[LS]\d+[A-Z]?|MT-?(CO|ND|ATP|CYB)\d?|HLA-\w+|H2-\w+", re.IGNORECASE)


def is_ensembl(gene: str) -> bool:
    """Tell whether `gene` is an Ensembl gene id of any species, with or without version."""
    return _ENSEMBL.fullmatch(gene.strip()) is not None


def clean_ids(values: Iterable[Any]) -> np.ndarray[Any, Any]:
    """Return gene ids as an object array of str: trimmed, Ensembl versions dropped, what means "no id" empty.

    A missing value is none. The words nan, NA, none and null are genes where they occur once, and mean "no id" where
    one occurs several times.
    """
    values = list(values)
    texts = np.array(["" if _is_nothing(value) else _clean(value) for value in values], dtype=object)
    words = [i for i, text in enumerate(texts) if text.lower() in _WORDS]
    if len(words) > 1:
        lowered = [texts[i].lower() for i in words]
        for i, word in zip(words, lowered, strict=True):
            if lowered.count(word) > 1:
                texts[i] = ""
    return texts


def _is_nothing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float | np.floating) and value != value)


def _clean(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    text = text.strip()
    match = _ENSEMBL.fullmatch(text)
    return match[1] if match else text


def mostly_ensembl(ids: Sequence[Any] | np.ndarray[Any, Any]) -> bool:
    """Tell whether most of the ids are Ensembl's; of a long list the first 2,000 are looked at."""
    return _mostly(ids, is_ensembl)


def are_numbers(ids: Sequence[Any] | np.ndarray[Any, Any]) -> bool:
    """Tell whether the ids are numbers, which name no genes: row numbers, with gaps or without."""
    return _mostly(ids, lambda text: _NUMBER.fullmatch(text) is not None)


def are_counted(ids: Sequence[Any] | np.ndarray[Any, Any]) -> bool:
    """Tell whether the ids only count genes, such as ``7`` or ``gene_7``."""
    return _mostly(ids, lambda text: (_COUNTED.fullmatch(text) or _NUMBER.fullmatch(text)) is not None)


def look_like_symbols(ids: Sequence[Any] | np.ndarray[Any, Any]) -> bool:
    """Tell whether most of the ids differ and some of them are genes that everybody knows, in the case of any species.

    It decides only whether a column under an unusual name holds symbols.
    """
    held, well_known = [str(gene) for gene in ids if gene], frozenset(_WELL_KNOWN.split())
    known = sum(gene.upper() in well_known or _FAMILIES.fullmatch(gene) is not None for gene in set(held))
    return bool(held) and len(set(held)) > 0.8 * len(held) and known >= min(3, len(held))


def symbols_in(var: pd.DataFrame) -> tuple[str, np.ndarray[Any, Any]] | None:
    """Return the column of `var` that holds symbols, by its name or else by what it holds, with cleaned values."""
    return _usual(var, _SYMBOL_COLUMNS, ensembl=False) or _by_content(var, look_like_symbols)


def aliases_in(var: pd.DataFrame) -> tuple[str, np.ndarray[Any, Any]] | None:
    """Return the column of `var` with other names of each gene, by its name, with cleaned values."""
    return _usual(var, ALIAS_COLUMNS, ensembl=False)


def ensembl_in(var: pd.DataFrame) -> tuple[str, np.ndarray[Any, Any]] | None:
    """Return the column of `var` that holds Ensembl ids, by its name or else by what it holds, with cleaned values."""
    return _usual(var, _ENSEMBL_COLUMNS, ensembl=True) or _by_content(var, mostly_ensembl)


def _usual(var: pd.DataFrame, names: Sequence[str], *, ensembl: bool) -> tuple[str, np.ndarray[Any, Any]] | None:
    """Return the first column with a usual name whose values are (or are not) Ensembl ids, cleaned."""
    by_name = {}
    for column in reversed(var.columns):
        name = str(column).lower().replace(" ", "_").replace("-", "_")
        by_name[_SUFFIX.sub("", name)] = by_name[name] = column
    for name in names:
        if name in by_name:
            values = clean_ids(var[by_name[name]])
            if (values != "").any() and mostly_ensembl(values) == ensembl and not are_counted(values):
                return str(by_name[name]), values
    return None


def _by_content(var: pd.DataFrame, fits: Any) -> tuple[str, np.ndarray[Any, Any]] | None:
    for column in var.columns:
        if var[column].dtype.kind not in "biufc" and fits(clean_ids(var[column].iloc[:2000])):
            values = clean_ids(var[column])
            if fits(values):
                return str(column), values
    return None


def _mostly(ids: Sequence[Any] | np.ndarray[Any, Any], fits: Any) -> bool:
    known = [str(gene) for gene in ids[:2000] if gene]
    return bool(known) and 2 * sum(map(bool, map(fits, known))) > len(known)
