"""`cellglass perturbations`: an atlas held against an experiment that says what was done to each cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cellglass.errors import InputError
from cellglass.vocabulary import SIGNIFICANT

if TYPE_CHECKING:
    from cellglass.pipeline.perturbations import Held

_MEASURES = ("pearson", "discrimination", "overlap")
_VERDICTS = {
    "yes": "attribution names the genes that were hit",
    "no": "attribution does not name the genes that were hit, and would have been seen to",
    "undecided": "too few perturbations to say whether attribution names the genes that were hit",
}


def run(
    atlas: Path,
    column: str,
    control: str,
    replicate: str | None,
    cells: int,
    out: Path | None,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Hold the atlas against the experiment, write the tables, and say what they say."""
    from cellglass.cli.console import listening
    from cellglass.files import atomic_path
    from cellglass.pipeline.perturbations import hold_against

    folder = out or atlas / "perturbations"
    if folder.is_file():
        raise InputError(f"{folder} is a file; --out takes the name of a folder for three tables")
    with listening(quiet=quiet or as_json) as progress:
        found = hold_against(atlas, column, control, replicate=replicate, cells=cells, progress=progress)
    for name in ("agreement", "shifts", "places"):
        with atomic_path(folder / f"{name}.csv") as temporary:
            getattr(found, name).to_csv(temporary, index=False)
    if as_json:
        said = {"folder": str(folder), "named": found.named._asdict(), "notes": list(found.notes)}
        typer.echo(json.dumps({**said, "agreement": found.agreement.to_dict("records")}))
        return
    _show(found)
    typer.echo(f"Wrote {folder}/agreement.csv, shifts.csv, places.csv")


def _show(found: Held) -> None:
    from rich.console import Console
    from rich.table import Table

    for note in found.notes:
        typer.echo(f"Note: {note}")
    if len(found.agreement):
        table = Table("of", "predicted by", *_MEASURES, box=None, pad_edge=False, header_style="dim")
        for (of, name), rows in found.agreement.groupby(["of", "name"], sort=False):
            by = rows.set_index("measure")[["headline", "low", "high"]].astype(float)
            shown = [f"{h:.2f} ({low:.2f} to {high:.2f})" for h, low, high in by.loc[list(_MEASURES)].to_numpy()]
            table.add_row(str(of), str(name), *shown)
        Console().print(table)
        typer.echo(
            "From 0, the predictions of other perturbations, to 1, the other half of the cells; "
            f"{found.agreement['n'].max()} perturbations, 95 % of a bootstrap over them."
        )
    sure = found.shifts[found.shifts["q"] < SIGNIFICANT]
    unit = "cells are the unit, and cells of one sample are no replicates: name --replicate"
    if set(found.shifts["test"]) != {"cells"}:
        unit = "replicates are the unit"
    typer.echo(
        f"{sure['perturbation'].nunique()} of {found.shifts['perturbation'].nunique()} perturbations shift a concept "
        f"at q < {SIGNIFICANT} ({unit})."
    )
    one = found.named
    if one.n:
        typer.echo(
            f"Place of the gene that was hit among genes of like expression: {one.mean:.2f} (0.5 by chance), "
            f"p {one.p:.2g}, {one.n} perturbations, power {one.power:.2f}: {_VERDICTS[one.verdict]}."
        )
