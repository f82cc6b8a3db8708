"""The command line: parses, calls, prints. Computes nothing, and imports what is heavy only when a command needs it.

Exit status: 0 fine, 1 failed (of ours or of the machine), 2 wrong use. An error is one line on stderr; ``--debug``
shows where it came from.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from cellglass import __version__
from cellglass.cli import cav, circuits, explorer, partners, selections, steer
from cellglass.cli.explorer import AtlasPath, Json, Quiet
from cellglass.cli.options import with_options
from cellglass.errors import InputError

app = typer.Typer(
    name="cellglass",
    help="Finds the concepts inside single-cell foundation models, the genes behind each "
    "concept, and what those genes mean. Start with: cellglass demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the atlas. Run the same command again to resume.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Report = Annotated[bool, typer.Option("--report/--no-report", help="Write report.html beside the atlas.")]

_debug = False


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cellglass {__version__}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""
    global _debug  # one process, one command line
    _debug = debug
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, format="%(name)s: %(message)s")


@app.command()
@with_options
def run(
    cells: Annotated[
        Path,
        typer.Argument(help="Cells with raw counts: .h5ad, AnnData .zarr, 10x .h5 or mtx folder, .loom, .csv, .tsv."),
    ],
    out: Out,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="TOML file with any of the options.")] = None,
    *,
    tables: dict[str, Any],
    report: Report = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make an atlas of the concepts that a model finds in your cells.

    Without --model, scVI is fitted to the cells; with --model scgpt, geneformer or cell2sentence, a small one of those.
    The run may be stopped at any moment: run the same command again to resume.

    Example: cellglass run my.h5ad --labels celltype --batch donor --gene-sets go-bp --out atlas/
    """
    from cellglass.pipeline.config import make_config, merge, read_toml

    settings = make_config(
        merge(read_toml(config) if config else {}, tables), where=str(config) if config else "options"
    )
    _explain(cells, settings, out, report=report, quiet=quiet, as_json=as_json)


@app.command()
def demo(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the atlas.", show_default="demo-atlas, by model")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Kind that is fitted and explained: scvi, scgpt, geneformer or cell2sentence.")
    ] = "scvi",
    with_circuit: Annotated[
        bool,
        typer.Option("--circuits", help="Instead: fit a small Cell2Sentence, train its transcoders, trace one cell."),
    ] = False,
    seed: Seed = 0,
    report: Report = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Explain a model of 700 real blood cells that come with scanpy. Needs no network; takes minutes.

    Example: cellglass demo --model scgpt
    """
    if with_circuit:
        circuits.demo(out or Path("demo-circuits"), seed, quiet=quiet, as_json=as_json)
        return
    from cellglass.pipeline.demo import demo_config, demo_folder

    _explain(None, demo_config(seed, model), out or demo_folder(model), report=report, quiet=quiet, as_json=as_json)


@app.command("report")
def write(
    atlas: AtlasPath,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write.", show_default="ATLAS/report.html")
    ] = None,
    no_notes: Annotated[bool, typer.Option("--no-notes", help="Leave notes out.")] = False,
    as_json: Json = False,
) -> None:
    """Write one HTML file that shows an atlas, with the notes of people, and opens offline."""
    from cellglass.atlas import open_atlas
    from cellglass.explorer.notes.place import shown_notes
    from cellglass.explorer.report import write_report

    target = out or atlas / "report.html"
    opened = open_atlas(atlas)
    if target.is_dir():
        raise InputError(f"{target} is a folder; --out takes the name of a file, such as {target / 'report.html'}")
    with shown_notes(opened, wanted=not no_notes) as notes:
        written = write_report(opened, target, notes=notes)
    typer.echo(json.dumps({"report": str(written)}) if as_json else f"Wrote {written}; open it in a browser.")


@app.command()
def info(atlas: AtlasPath, as_json: Json = False) -> None:
    """Say what an atlas holds: its main metrics with spread and null, and ten concepts with their evidence.

    With --json everything: every metric with its definition, and every concept.
    """
    from cellglass.atlas import open_atlas
    from cellglass.atlas.summary import summarize

    summary = summarize(open_atlas(atlas))
    if as_json:
        typer.echo(json.dumps(summary, indent=1))
    else:
        from cellglass.cli.console import show_summary

        show_summary(summary)


@app.command()
def attribute(
    atlas: AtlasPath,
    method: Annotated[
        list[str],
        typer.Option("--method", help="Such as shapley, gradient or correlation. May be repeated."),
    ],
    report: Report = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find the genes of the concepts of an atlas by further methods; what others found stays.

    Example: cellglass attribute atlas/ --method shapley
    """
    from cellglass.atlas.summary import summarize
    from cellglass.attribution.registry import METHODS
    from cellglass.cli.console import listening
    from cellglass.pipeline.explain import add_methods

    for name in method:
        METHODS.check(name, "--method")
        if not (quiet or as_json):
            typer.echo(f"{METHODS[name].title}: {METHODS[name].cost}", err=True)
    with listening(quiet=quiet or as_json) as progress:
        opened = add_methods(atlas, method, report=report, progress=progress)
    if as_json:
        typer.echo(json.dumps(summarize(opened), indent=1))
    else:
        typer.echo(f"Added {', '.join(METHODS[name].title for name in method)} to {atlas}")


@app.command("pathway-swaps")
def pathway_swaps(
    atlas: AtlasPath,
    concept: Annotated[
        list[str] | None,
        typer.Option("--concept", help="Name or latent number. May be repeated; by default all, the surest first."),
    ] = None,
    gene_sets: Annotated[
        list[str] | None, typer.Option("--gene-sets", help="Sources or GMT files, in place of those of the atlas.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Pairs of cells of each concept.")] = 40,
    draws: Annotated[int, typer.Option(help="Drawn sets for each set.")] = 50,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV file.", show_default="ATLAS/pathway_swaps.csv")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Swap whole gene sets in the cells of a concept: which pathways the model itself answers to.

    Each set stands against random sets of as many genes of like expression and difference. May be stopped; the same
    command goes on.

    Example: cellglass pathway-swaps demo-atlas --concept 0
    """
    from cellglass.cli.pathway_swaps import run

    run(atlas, concept or [], gene_sets or [], pairs, draws, out, quiet=quiet, as_json=as_json)


@app.command()
def perturbations(
    atlas: AtlasPath,
    column: Annotated[str, typer.Option("--column", help="Column of obs that says what was done to each cell.")],
    control: Annotated[str, typer.Option("--control", help="Its value where nothing was done.")],
    replicate: Annotated[
        str | None, typer.Option("--replicate", help="Column with donor, sample or replicate: the unit of the tests.")
    ] = None,
    cells: Annotated[int, typer.Option(min=1, help="Control cells in which each gene is knocked out.")] = 200,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the tables.", show_default="ATLAS/perturbations")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Hold an atlas against a perturbation experiment: CRISPR, drugs or cytokines.

    Says which concepts each perturbation shifts; where genes were hit, how the model's own knock-outs agree with the
    real ones, on a scale from shuffled perturbations to the other half of the cells; and whether attribution names
    the genes that were hit.

    Example: cellglass perturbations atlas --column guide --control non-targeting --replicate donor
    """
    from cellglass.cli.perturbations import run

    run(atlas, column, control, replicate, cells, out, quiet=quiet, as_json=as_json)


@app.command()
def audit(
    atlas: AtlasPath,
    control: Annotated[
        Path | None, typer.Option("--control", help="Atlas of the same cells, made with --control untrained.")
    ] = None,
    plant: Annotated[
        bool, typer.Option("--plant", help="First explain these cells with a program planted in them: one more run.")
    ] = False,
    effect: Annotated[float, typer.Option(help="Log fold change of the planted genes.")] = 1.0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Ask the questions that sank published studies: each with a verdict, its figures, and what to do.

    Example: cellglass audit demo-atlas
    """
    from cellglass.atlas import open_atlas
    from cellglass.cli.console import listening

    opened = open_atlas(atlas)
    if plant:
        from cellglass.pipeline.positive_control import positive_control

        with listening(quiet=quiet or as_json) as progress:
            positive_control(atlas, effect=effect, progress=progress)
    findings = opened.audit(None if control is None else open_atlas(control))
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        from cellglass.cli.console import show_audit

        show_audit(findings)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Folder of an atlas.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Folder of another.")],
    threshold: Annotated[float, typer.Option(help="Similarity from which on two concepts are partners.")] = 0.7,
    same_site: Annotated[
        bool, typer.Option("--same-site", help="One model made both sites, though the atlases cannot show it.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="CSV file to write the matched concepts to."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how far the concepts of two atlases agree: of two settings, two data sets, two models.

    Concepts are matched one to one by the cells in which they are active, where the atlases have cells in common, and
    by their directions, where they explain the same site of the same model. Chance stands beside every figure.

    Example: cellglass compare atlas-k8/ atlas-k16/ --out pairs.csv
    """
    from cellglass.atlas import open_atlas
    from cellglass.atlas.comparison.compare import compare as compare_atlases
    from cellglass.files import atomic_path

    if out is not None and out.is_dir():
        raise InputError(f"{out} is a folder; --out takes the name of a file, such as {out / 'pairs.csv'}")
    found = compare_atlases(open_atlas(a), open_atlas(b), threshold=threshold, same_site=same_site)
    if out is not None:
        with atomic_path(out) as temporary:
            found.pairs.to_csv(temporary, index=False)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
    else:
        from cellglass.cli.console import show_comparison

        show_comparison(found.to_dict())
        if out is not None:
            typer.echo(f"\nWrote {out}")


@app.command()
def genesets(
    fetch: Annotated[
        list[str] | None, typer.Argument(metavar="[SOURCE]...", help="Sources to fetch into the cache now.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the named gene-set sources and where they are kept; with names, fetch those."""
    from cellglass.enrichment.sources import describe_sources, load_source

    for name in fetch or []:
        load_source(name)
    rows = describe_sources()
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        from cellglass.cli.console import show_sources

        show_sources(rows)


partners.add(app)
cav.add(app)
explorer.add(app)
selections.add(app)
steer.add(app)
circuits.add(app)


def _explain(cells: Path | None, config: Any, out: Path, *, report: bool, quiet: bool, as_json: bool) -> None:
    """Run the pipeline with progress on stderr, then say on stdout what came out."""
    from cellglass.atlas.summary import summarize
    from cellglass.cli.console import listening, show_summary
    from cellglass.pipeline.explain import run_pipeline

    with listening(quiet=quiet or as_json) as progress:
        atlas = run_pipeline(cells, config, out, report=report, progress=progress)
    summary = summarize(atlas)
    if as_json:
        typer.echo(json.dumps(summary, indent=1))
    else:
        show_summary(summary)
        typer.echo(f"\nExplore: cellglass explore {out}")
        if report:
            typer.echo(f"Report:  {out / 'report.html'}  (open it in a browser)")
        typer.echo(f"Python:  cellglass.open_atlas({str(out)!r})")


def main() -> NoReturn:
    """Run the command line and exit with 0, 1 or 2."""
    try:
        code = app(standalone_mode=False)
    except InputError as error:
        _fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped; run the same command again to resume", 130)
    except typer.Exit as leave:
        sys.exit(leave.exit_code)
    except Exception as error:
        if hasattr(error, "format_message"):  # wrong use, found by the parser
            _fail(f"{error.format_message()} (try: cellglass --help)", 2)
        _fail(f"failed: {type(error).__name__}: {error} (--debug before the command shows where)", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, status: int) -> NoReturn:
    if _debug:
        traceback.print_exc()
    typer.echo("cellglass: " + " ".join(message.split()), err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
