"""Short names for concepts, made by machine from best label, best term and top gene. Reads no file, tests nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cellglass.errors import InputError
from cellglass.vocabulary import SIGNIFICANT

LONGEST = 60
LABEL_F1 = 0.5
ABSENT = "low"
"""What stands before a gene, or gene set, whose absence drives a concept."""
RESIDUAL = "residual"
_MISSING = {"", "nan", "none", "<na>"}


def machine_names(
    best_label: Sequence[str | None],
    best_label_f1: Sequence[float],
    best_term: Sequence[str | None],
    best_term_q: Sequence[float],
    top_gene: Sequence[str | None],
    latent: Sequence[int],
    *,
    best_label_q: Sequence[float] | None = None,
    best_term_statistic: Sequence[float] | None = None,
    top_gene_q: Sequence[float] | None = None,
    top_gene_score: Sequence[float] | None = None,
    residual: Sequence[bool] | None = None,
) -> list[str]:
    """Name each concept ``cLATENT label | term | gene``.

    The label is named only if the concept marks it with F1 >= 0.5 and q < 0.05, term and gene only if q < 0.05. What
    drives the concept by its absence, a depleted term or a gene with a score below 0, is named as ``low TERM`` or
    ``low GENE``. A residual latent, which is no finding, is ``cLATENT residual``. The latent's number makes every name
    unique, and unlike a gene or an obs column. Prefixes and numbers of the collections are left off terms
    (``HALLMARK_``, ``(GO:...)``, ``R-HSA-...``), and so are slashes and tabs; a long term, then a long label, is cut at
    an ellipsis so that no name is longer than 60 characters.

    Parameters
    ----------
    best_label, best_term, top_gene : sequences of str
        None, empty or NaN where there is none.
    best_label_f1, best_term_q : sequences of float
        NaN where there is none. The q of a term is that against random genes, `null_q`.
    latent : sequence of int
        Number of each concept in its dictionary.
    best_label_q, top_gene_q : sequences of float, optional
        NaN where nothing was tested, so that nothing is named. By default all are significant.
    best_term_statistic, top_gene_score : sequences of float, optional
        Below 0: by absence. By default by presence.
    residual : sequence of bool, optional
        By default none is.

    Raises
    ------
    InputError
        If the lengths differ or a latent comes twice.
    """
    n = len(latent)
    given = (best_label_q, best_term_statistic, top_gene_q, top_gene_score, residual)
    usual = (0, 1, 0, 1, False)
    signs = [[default] * n if column is None else column for column, default in zip(given, usual, strict=True)]
    columns = (best_label, best_label_f1, best_term, best_term_q, top_gene, *signs)
    if any(len(column) != n for column in columns):
        raise InputError(
            f"names: columns of {[len(column) for column in columns]} values for {n} concepts; give one each"
        )
    if len(set(latent)) != n:
        raise InputError("names: a latent comes twice; name each concept once")
    named = []
    for label, f1, term, q, gene, label_q, statistic, gene_q, score, rest, number in zip(*columns, latent, strict=True):
        if rest:
            named.append(f"c{number} {RESIDUAL}")
            continue
        parts = (
            _clean(label) if f1 >= LABEL_F1 and label_q < SIGNIFICANT else "",
            _signed(_short(_clean(term)), statistic) if q < SIGNIFICANT else "",
            _signed(_cut(_clean(gene), 20), score) if gene_q < SIGNIFICANT else "",
        )
        named.append(_join(f"c{number}", *parts))
    return named


def _signed(text: str, sign: float) -> str:
    return f"{ABSENT} {text}" if text and sign < 0 else text


def _join(number: str, label: str, term: str, gene: str) -> str:
    label = _cut(label, 30 if term else 60)
    room = LONGEST - len(number) - 1 - sum(len(part) + 3 for part in (label, gene) if part)
    if term:
        term = _cut(term, room)
    elif label and room < -3:
        label = _cut(label, len(label) + room + 3)
    parts = [part for part in (label, term, gene) if part]
    return f"{number} {' | '.join(parts)}"[:LONGEST] if parts else number


def _clean(text: object) -> str:
    words = re.sub(r"[\s/\\|]+", " ", str(text)).strip()
    return "" if words.lower() in _MISSING else words


def _short(term: str) -> str:
    """Take from a term what only says where it comes from, and calm its capitals."""
    term = re.sub(r"\s*\(GO:\d+\)$|[_ ]Homo sapiens[_ ]R-HSA-\d+$|\s*R-HSA-\d+$", "", term)
    term = re.sub(r"^(HALLMARK|REACTOME|GOBP|KEGG|WP)_", "", term).replace("_", " ").strip()
    return term.lower() if term.isupper() and " " in term else term


def _cut(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return text[: max(length - 1, 1)].rstrip() + "…"
