"""Circuits held against biology, on the command line. Parses, calls and prints; computes nothing."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellglass.cli.explorer import Json, Quiet
from cellglass.cli.opening import cells_of, model_of
from cellglass.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from cellglass.circuits.biology.match import Match
    from cellglass.circuits.biology.regulation import Within

_FEW = 0.1


def check(
    model: Annotated[Path, typer.Argument(metavar="MODEL_OR_ATLAS", help="Folder of a model, or of an atlas.")],
    transcoders: Annotated[Path, typer.Option(help="Folder that `cellglass circuits train` wrote, of this model.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Table of scores (.csv); the table of edges lies beside it.")
    ],
    cells: Annotated[
        Path | None, typer.Option("--cells", help="Cells with raw counts.", show_default="those of the atlas")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Known pairs of genes: TRRUST's format, or two columns (.tsv, .csv).",
            show_default="a small table of blood cells that comes with cellglass",
        ),
    ] = None,
    genes: Annotated[
        str | None, typer.Option(help="Genes to keep to, between commas.", show_default="all of the pairs")
    ] = None,
    n_cells: Annotated[int, typer.Option("--n-cells", help="Cells that effects are means of.")] = 20,
    fewest: Annotated[int, typer.Option(help="Leave out effects that fewer cells show.")] = 1,
    label: Annotated[str | None, typer.Option("--class", help="Cells of this label alone.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="obs column of the label.", show_default="that of the transcoders")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Also hold what genes do to this answer against knock-outs; as of trace.")
    ] = None,
    against: Annotated[str | None, typer.Option(help="What the target is held against.")] = None,
    perturbation: Annotated[
        str | None, typer.Option(help="With --target: obs column with the gene that was knocked out in each cell.")
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(help="What control cells are called in it.", show_default="control, non-targeting or the like"),
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws of each null.")] = 1000,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Hold what genes do to genes in a model against known pairs of genes, and against co-expression.

    One walk back for each gene and cell, and for Geneformer a pass. It may be stopped at any moment: run the same
    command again to resume.

    Example: cellglass circuits check model/ --cells my.h5ad --pairs trrust.tsv --transcoders transcoders/ --out
    check.csv
    """
    from cellglass.circuits import (
        against_knockouts,
        against_regulation,
        bundled_regulation,
        coexpression,
        gene_edges,
        load_transcoders,
        read_regulation,
        some_cells,
    )  # fmt: skip
    from cellglass.circuits.answers import model_symbols
    from cellglass.circuits.objectives import ready
    from cellglass.circuits.tracing import check_labels
    from cellglass.cli.console import listening

    if out.suffix != ".csv":
        raise InputError(f"{out}: the table is written as text; end the file's name in .csv")
    for name, value in (("--against", against), ("--perturbation", perturbation), ("--control", control)):
        if value is not None and target is None:
            raise InputError(f"{name}: it goes with --target, the answer that is asked about")
    known = bundled_regulation() if pairs is None else read_regulation(pairs)
    made = load_transcoders(transcoders)
    labels = made.labels if labels is None else labels
    columns = [None if label is None else labels, None if target is None else made.labels, perturbation]
    held = cells_of(model, cells, columns)
    check_labels(held, made.labels, target, against)
    opened = made.check(ready(model_of(model), held))
    counted = set(held.symbols.tolist())
    symbols = [gene for gene in model_symbols(opened) if gene in counted]
    if genes is not None:
        wanted = {gene.strip().upper() for gene in genes.split(",")}
        symbols = [gene for gene in symbols if gene.upper() in wanted]
    within = known.within(symbols)
    if not len(within.pairs.table):
        raise InputError(f"{known.origin}: none of its {len(known.table)} pairs is of genes that model and cells have")
    chosen = some_cells(held, n_cells, labels, label, seed=seed)
    work = out.with_suffix(".work")
    with listening(quiet=quiet or as_json) as progress:
        edges = gene_edges(opened, chosen, made.stand_ins, within.pairs.genes, folder=work, progress=progress)
        rival = coexpression(chosen, within.pairs.genes)
        match = against_regulation(edges, within.pairs, rival=rival, fewest=fewest, draws=draws, seed=seed)
        tables = {"": match.table, "edges": edges.set_index("source")}
        if target is not None:
            knocked = against_knockouts(
                opened, held, made.stand_ins, target, against, perturbation=perturbation, control=control, draws=draws,
                seed=seed, progress=progress,
            )  # fmt: skip
            tables |= {"knockouts": knocked.genes, "knockouts.scores": knocked.scores}
    files = {name: out if not name else out.with_suffix(f".{name}.csv") for name in tables}
    _write(files, tables)
    shutil.rmtree(work)
    if as_json:
        scores = {name: _records(tables[name]) for name in ("", "knockouts.scores") if name in tables}
        told = {"files": [str(path) for path in files.values()], "scores": scores.pop(""), "moved": match.moved,
                "left_out": within.left_out, "missing": within.missing, "unmeasured": match.unmeasured,
                "cells": chosen.n_cells}  # fmt: skip
        typer.echo(json.dumps({**told, **({"knockouts": scores["knockouts.scores"]} if scores else {})}, indent=1))
        return
    _show(match, within, chosen.n_cells, fewest)
    if target is not None:
        _show_knockouts(tables["knockouts.scores"], target)
    typer.echo(f"\nWrote {', '.join(str(path) for path in files.values())}")


def _write(files: dict[str, Path], tables: dict[str, pd.DataFrame]) -> None:
    from cellglass.files import atomic_path

    for name, path in files.items():
        with atomic_path(path) as temporary:
            tables[name].to_csv(temporary)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table.reset_index().to_dict("records")
    return [{str(k): None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]


def _show(match: Match, within: Within, n_cells: int, fewest: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console, row = Console(), match.table.iloc[0]
    console.print(
        f"\n{escape(within.pairs.origin)}: {row['pairs']:.0f} known pairs beside {row['others']:.0f} others of the "
        f"same genes, over {n_cells} cells",
        style="bold",
        highlight=False,
    )
    console.print(
        f"Left out: {within.left_out} pairs of {len(within.missing)} genes that model and cells do not both have, "
        f"{match.unmeasured} that "
        f"{'no cell reads' if fewest < 2 else f'fewer than {fewest} cells read'} together.",
        highlight=False,
    )
    shown = Table("", "AUROC", "null", "p", "rank", "null", "p", "signs", "null", "p", box=None, pad_edge=False,
                  header_style="dim")  # fmt: skip
    names = ("auroc", "auroc_null", "auroc_p", "rank", "rank_null", "rank_p", "signs", "signs_null", "signs_p")
    for of, values in match.table.iterrows():
        told = {name: _number(values[name]) for name in names}
        if values["signed"]:
            told["signs"] += f" of {values['signed']:.0f}"
        shown.add_row(str(of), *told.values())
    console.print(shown)
    if match.moved < _FEW:
        console.print("These pairs leave next to nothing to rewire, so the null says nothing: give more of them.")
    console.print(
        "AUROC: a known pair has a larger effect than another. Rank: place among all sources of its target, 0 the "
        "first. Null: pairs rewired, each gene as often source and target. Signs: share of activations and "
        "repressions whose effect has that sign; null: signs exchanged.",
        style="dim",
        highlight=False,
    )


def _show_knockouts(scores: pd.DataFrame, target: str) -> None:
    from rich.console import Console
    from rich.markup import escape

    told = "; ".join(
        f"{of} {_number(row['spearman'])} ({row['genes']:.0f} genes, p {_number(row['p'])})"
        for of, row in scores.iterrows()
    )
    Console().print(f"\nKnock-outs, {escape(target)}: Spearman's correlation of {told}.", highlight=False)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
