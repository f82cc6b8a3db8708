"""The commands of the explorer: explore, export, and those of notes. Parses, calls, prints; computes nothing.

`add` puts them on the command line of `cli.py`, which turns errors into one line and an exit status.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Annotated

import typer

AtlasPath = Annotated[Path, typer.Argument(metavar="ATLAS", help="Folder of an atlas.")]
NotesPath = Annotated[
    Path | None,
    typer.Option("--notes", help="File of the notes (SQLite).", show_default="annotations.sqlite in the atlas"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]

notes_app = typer.Typer(
    help="Merge, export and weigh what people wrote about the concepts of an atlas.", no_args_is_help=True
)


def add(app: typer.Typer) -> None:
    """Put the commands of the explorer on `app`."""
    app.command()(explore)
    app.command()(export)
    app.add_typer(notes_app, name="notes")


def explore(
    atlas: AtlasPath,
    port: Annotated[int, typer.Option(help="Port; the next free one is taken if it is in use, 0 takes any.")] = 8765,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in your browser.")] = True,
    host: Annotated[
        str, typer.Option(help="Address to listen at. Anywhere but on this machine, the link holds a secret token.")
    ] = "127.0.0.1",
    notes: NotesPath = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Model to try changes of circuits in.", show_default="the one that the atlas keeps"),
    ] = None,
    transcoders: Annotated[
        Path | None, typer.Option(help="Its transcoders, so that features of circuits can be changed.")
    ] = None,
    cells: Annotated[
        Path | None, typer.Option(help="Cells to try them in.", show_default="those that the atlas keeps")
    ] = None,
) -> None:
    """Open an atlas in the browser: concepts, cells, genes, pathways, circuits, notes, and blind review.

    With --model, --transcoders or --cells, changes can be tried on the page of a circuit: features taken out, counts
    set, and what the model answers then. Nobody but this machine can reach the page. Of the atlas nothing is written
    but the notes, in its annotations.sqlite or where --notes says. Stop it with Ctrl-C.

    Example: cellglass explore demo-atlas/
    """
    from cellglass.explorer.app import serve

    given = None
    if any(part is not None for part in (model, transcoders, cells)):
        from cellglass.explorer.trying.bench import Given

        given = Given(model, transcoders, cells)
    serve(atlas, port, host, browser, notes, given=given, tell=typer.echo)


def export(
    atlas: AtlasPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; an earlier export there is replaced.")],
    notes: NotesPath = None,
    no_notes: Annotated[bool, typer.Option("--no-notes", help="Leave notes out.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the explorer as a folder that works from any static web host.

    It shows what `cellglass explore` shows; notes that readers write stay in their browser, and the page gives them as
    a file to send back, for `cellglass notes merge`.

    Example: cellglass export demo-atlas/ --out site/
    """
    from cellglass.atlas import open_atlas
    from cellglass.cli.console import listening
    from cellglass.explorer.export import export as write
    from cellglass.explorer.notes.place import shown_notes

    opened = open_atlas(atlas)
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(shown_notes(opened, notes, wanted=not no_notes))
        progress = stack.enter_context(listening(quiet=quiet or as_json))
        written = write(opened, out, notes=kept, progress=progress)
    if as_json:
        typer.echo(json.dumps({"site": str(written)}))
    else:
        typer.echo(f"Wrote {written}; put it on any web host, or look at it with: python -m http.server -d {written}")


@notes_app.command()
def merge(
    atlas: AtlasPath,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of notes: SQLite, or JSON of a page.")],
    notes: NotesPath = None,
    as_json: Json = False,
) -> None:
    """Add to the notes of an atlas all that other files hold; nothing is lost, and the same file twice adds nothing.

    Where two people labelled one concept, both labels stand in its history, and the page shows that they differ.

    Example: cellglass notes merge demo-atlas/ from-ada.json from-ben.sqlite
    """
    from cellglass.atlas import open_atlas
    from cellglass.explorer.notes.exchange import merge_notes
    from cellglass.explorer.notes.place import open_notes

    with open_notes(open_atlas(atlas), notes) as kept:
        merged, place = merge_notes(kept, files), kept.path
    if as_json:
        typer.echo(json.dumps({"notes": str(place), "revisions": merged.revisions, "ratings": merged.answers}))
    else:
        typer.echo(f"{merged.revisions} new changes of notes and {merged.answers} new ratings, in {place}")


@notes_app.command("export")
def export_notes(
    atlas: AtlasPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: .json for all of it, .csv for a table.")],
    notes: NotesPath = None,
    as_json: Json = False,
) -> None:
    """Write all notes of an atlas, with their history, as JSON or as a table.

    Example: cellglass notes export demo-atlas/ --out notes.csv
    """
    from cellglass.atlas import open_atlas
    from cellglass.errors import InputError
    from cellglass.explorer.notes import exchange
    from cellglass.explorer.notes.place import open_notes

    if out.is_dir():
        raise InputError(f"{out} is a folder; --out takes the name of a file, such as {out / 'notes.csv'}")
    with open_notes(open_atlas(atlas), notes, make=False) as kept:
        written = exchange.export_notes(kept, out)
    typer.echo(json.dumps({"notes": str(written)}) if as_json else f"Wrote {written}")


@notes_app.command()
def agreement(
    atlas: AtlasPath,
    notes: NotesPath = None,
    session: Annotated[str | None, typer.Option(help="Id of one review.", show_default="all that have ended")] = None,
    early: Annotated[
        bool, typer.Option("--early", help="Also reviews that have not ended; for who leads the study, not for raters.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say how far the raters of a blind review agree, and whether concepts are rated above neurons.

    Weighted kappa (quadratic) within each rater, from items shown twice, and between raters; the difference of ratings
    between concepts and neurons with its 95 % confidence interval, from a mixed model with raters and items.

    Example: cellglass notes agreement demo-atlas/
    """
    from cellglass.atlas import open_atlas
    from cellglass.explorer.notes.place import open_notes
    from cellglass.explorer.review.session import Review
    from cellglass.explorer.review.summary import summarize

    with open_notes(open_atlas(atlas), notes, make=False) as kept:
        found = summarize(Review(kept), session, early=early)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        from cellglass.cli.console import show_agreement

        show_agreement(found)
