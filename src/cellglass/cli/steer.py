"""`cellglass steer`: cells moved towards others by concepts, and what the model then says of their genes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellglass.cli.explorer import AtlasPath, Json, Quiet
from cellglass.errors import InputError
from cellglass.vocabulary import STEERED

if TYPE_CHECKING:
    import pandas as pd

    from cellglass.atlas import Atlas
    from cellglass.pipeline.steering import Steering

_GENES, _CONCEPTS = 12, 6


def add(app: typer.Typer) -> None:
    """Put the command on `app`."""
    app.command()(steer)


def steer(
    atlas: AtlasPath,
    from_: Annotated[
        list[str],
        typer.Option("--from", metavar="LABEL=VALUE", help="Cells to move. May be repeated: cells that have all."),
    ],
    to: Annotated[
        list[str],
        typer.Option("--to", metavar="LABEL=VALUE", help="Cells to move towards. May be repeated."),
    ],
    concepts: Annotated[
        list[str] | None,
        typer.Option("--concepts", help="Names or latent numbers, with commas; by default all. May be repeated."),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(help="Take the fewest that carry this share of the site's mean difference, such as 0.5."),
    ] = None,
    dose: Annotated[
        list[float] | None,
        typer.Option(help="1 moves each concept by its difference; by default 0, 0.25, 0.5, 1, 2. May be repeated."),
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws of random concepts and of random directions.")] = 10,
    cells: Annotated[int, typer.Option(help="Cells to move at most.")] = 500,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Table of genes, .csv or .parquet.", show_default="ATLAS/steering.csv"),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Move cells towards others by their concepts, decode their genes, and compare with the real difference.

    Beside random concepts and directions, the mean difference at the site, its principal components, and the mean
    difference of expression, which needs no model. For models that decode expression: scVI, scGPT.

    Example: cellglass steer demo-atlas --from "bulk_labels=CD4+/CD25 T Reg" --to "bulk_labels=CD8+ Cytotoxic T"
    """
    from cellglass.atlas import open_atlas
    from cellglass.cli.console import listening
    from cellglass.interventions import DOSES
    from cellglass.pipeline import steering

    target = _target(atlas, out)
    groups = [_group(name, words) for name, words in (("--from", from_), ("--to", to))]
    chosen = _concepts(open_atlas(atlas), concepts or [])
    with listening(quiet=quiet or as_json) as progress:
        found = steering.steer(
            atlas, *groups, concepts=chosen, share=share, doses=dose or DOSES, draws=draws, cells=cells,
            progress=progress,
        )  # fmt: skip
    _write(found.genes, target)
    if as_json:
        rows = json.loads(found.scores.to_json(orient="records"))
        moved = json.loads(found.concepts.to_json(orient="records"))
        typer.echo(json.dumps({"file": str(target), **found.about, "concepts": moved, "scores": rows}, indent=1))
        return
    _show(found)
    typer.echo(f"Wrote {target}")


def _target(atlas: Path, out: Path | None) -> Path:
    target = out or atlas / "steering.csv"
    if target.is_dir():
        raise InputError(f"{target} is a folder; --out takes the name of a file, such as {target / 'steering.csv'}")
    if target.suffix not in (".csv", ".parquet"):
        raise InputError(f"{target}: --out takes a file that ends in .csv or .parquet")
    return target


def _write(table: pd.DataFrame, target: Path) -> None:
    from cellglass.files import atomic_path

    with atomic_path(target) as temporary:
        if target.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)


def _group(option: str, words: Sequence[str]) -> dict[str, str]:
    """Return LABEL=VALUE words as columns and values."""
    found = {}
    for word in words:
        column, equals, value = word.partition("=")
        if not (column and equals and value):
            raise InputError(f"{option} {word}: write LABEL=VALUE, an obs column and one of its values")
        found[column] = value
    return found


def _concepts(atlas: Atlas, words: Sequence[str]) -> list[str | int]:
    """Return names and numbers; a word that is no name is a list with commas."""
    names = set(map(str, atlas.concepts.var_names))
    parts = [part for word in words for part in ([word] if word in names else word.split(","))]
    return [int(part) if part.strip().isdigit() else part.strip() for part in parts if part.strip()]


def _show(found: Steering) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    scores, about = found.scores, found.about
    own = scores.loc[scores["way"] == "concepts", "dose"]
    dose = 1.0 if (own == 1.0).any() else float(own.max())
    at = scores[(scores["dose"] == dose) | scores["way"].isin(["none", "expression"])]
    shown = Table("way", "moved", "r", "r, top 50", "sign", "explained", box=None, pad_edge=False, header_style="dim")
    figures = at[["moved", "pearson", "pearson_top", "sign", "explained"]].to_numpy(dtype=float)
    for way, values in zip(map(str, at["way"]), figures, strict=True):
        shown.add_row(STEERED[way], *("" if value != value else f"{value:.2f}" for value in values))
    words = [", ".join(f"{key} {value}" for key, value in about[side].items()) for side in ("from", "to")]
    moved = found.concepts.reindex(found.concepts["shift"].abs().sort_values(ascending=False).index)
    shifts = zip(moved["concept"].astype(str), moved["shift"].to_numpy(dtype=float), strict=True)
    names = [f"{escape(name)} {shift:+.2f}" for name, shift in shifts][:_CONCEPTS]
    more = f" and {len(moved) - _CONCEPTS} more" if len(moved) > _CONCEPTS else ""
    genes = found.genes[(found.genes["way"] == "concepts") & (found.genes["dose"] == dose)].head(_GENES)
    changes = genes[["predicted", "real"]].to_numpy(dtype=float)
    symbols = map(str, genes["symbol"])
    says = [f"{escape(name)} {ours:+.2f} ({real:+.2f})" for name, (ours, real) in zip(symbols, changes, strict=True)]
    console = Console()
    console.print(f"[bold]{escape(words[0])}[/bold] towards [bold]{escape(words[1])}[/bold] at {about['site']}, "
                  f"dose {dose:g}; {about['scored'][0]} and {about['scored'][1]} cells scored")  # fmt: skip
    chance = about["carried_random"]
    beside = "" if chance is None else f", as many random ones {chance:.0%}"
    carried = f"{about['carried']:.0%} of the mean difference in the scored cells{beside}"
    console.print(f"Concepts: {', '.join(names)}{more}; they carry {carried}\n")
    console.print(shown)
    console.print(f"\nGenes, predicted and (real): {', '.join(says)}")
