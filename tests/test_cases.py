"""Inputs that users bring: each script of ``../shared/cases`` writes some, and the table says what is right of each.

To add a case, add a line to `CASES`: the script, the file or folder of it, what it is given to (`reads`, `gene_sets`,
or a function of your own that takes the path) and what must come out. Skipped where the scripts are not beside the
project; cases in code of their own stand in the test files of the parts that they concern.
"""

from __future__ import annotations

import contextlib
import io
import logging
import runpy
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cellglass.cells import read_cells
from cellglass.enrichment import load_source
from cellglass.errors import InputError

SCRIPTS = Path(__file__).parents[2] / "shared" / "cases"


class Case(NamedTuple):
    """One input and what is right."""

    script: str
    path: str
    given_to: Callable[..., Any]
    right: Any
    """What `given_to` returns, as a function of it says; or the words of a refusal, as a text."""
    said: str = ""
    """Words of a warning."""
    options: dict[str, Any] = {}  # noqa: RUF012  # never changed


def reads(path: Path, **options: Any) -> tuple[int, int, str]:
    """Return how many cells and genes are read, and the id of the first gene."""
    cells = read_cells(path, **options)
    return cells.n_cells, cells.n_genes, str(cells.genes.index[0])


def begins(path: Path, **options: Any) -> int:
    """Return how many cells a run begins with: its first stage, in which all is checked, alone."""
    from cellglass.pipeline.config import make_config
    from cellglass.pipeline.run import Run
    from cellglass.pipeline.runner import run_stages
    from cellglass.pipeline.stages.cells import CellsStage
    from cellglass.pipeline.workspace import CELLS

    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "atlas", make_config({"cells": options}).with_safe_columns(), {"cells": path})
        run_stages(run, [CellsStage])
        return read_cells(run.path(CELLS)).n_cells


def gene_sets(path: Path) -> tuple[int, int]:
    """Return how many sets there are, and how many genes the first has."""
    sets = load_source(path)
    return len(sets), len(next(iter(sets.sets.values())))


SYMBOLS = (300, 1267, "HES4")
SCRAN = {"counts": "scran/size_norm"}
ENSEMBL = (200, 1267, "ENSG00000188290")
CASES = [
    Case("mtx_folder_forms", "prefix", reads, ENSEMBL),
    Case("mtx_folder_forms", "plain_v2", reads, ENSEMBL),
    Case("mtx_folder_forms", "windows", reads, ENSEMBL),
    Case("mtx_folder_forms", "r_sci", reads, ENSEMBL),
    Case("mtx_folder_forms", "third_biotype", reads, ENSEMBL),
    Case("mtx_folder_forms", "header_barcodes", reads, ENSEMBL, "took the first, 'x', for a header"),
    Case("mtx_folder_forms", "kb", reads, ENSEMBL),
    Case("mtx_folder_forms", "two", reads, "holds several samples"),
    Case("mtx_folder_forms", "outs", reads, "is a folder above the cells; name"),
    Case("mtx_folder_forms", "outs/filtered_feature_bc_matrix", reads, ENSEMBL),
    Case("tenx_h5_multi", "ab.h5", reads, ENSEMBL),
    Case("tenx_h5_multi", "cellbender.h5", reads, ENSEMBL),
    Case("tenx_h5_multi", "no_type.h5", reads, (200, 1287, "ENSG00000188290")),
    Case("tenx_h5_multi", "molecule_info.h5", reads, "is Cell Ranger's list of molecules"),
    Case("numbered_index_two_sets", "a.h5ad", reads, (300, 1267, "ENSG00000188290"), "from column 'feature_id'"),
    Case("numbered_index_two_sets", "b.h5ad", reads, (300, 1267, "ENSG00000145741"), "from column 'feature_id'"),
    Case("layer_name_with_slash", "in.h5ad", reads, SYMBOLS, "left out layers['scran/size_norm'], which has a slash"),
    Case("layer_name_with_slash", "in.h5ad", reads, "layers['scran/size_norm'] has a slash", options=SCRAN),
    Case("hdf5plugin_zstd", "in.h5ad", reads, SYMBOLS),
    Case("soupx_corrected", "in.h5ad", reads, "have them rounded with --round"),
    Case("soupx_corrected", "in.h5ad", reads, SYMBOLS, options={"round_counts": True}),
    Case("raw_barcodes_unfiltered", "in.h5ad", reads, (3150, 1267, "HES4"), "3,000 of 3,150 cells look like empty"),
    Case("obs_column_with_slash", "in.h5ad", reads, SYMBOLS, options={"columns": ["type/sub"]}),
    Case("obs_column_with_slash", "in.h5ad", begins, 300, "'type/sub' is now 'type_sub'", {"labels": ["type/sub"]}),
    Case("obs_reserved_index_column", "in.h5ad", reads, SYMBOLS),
    Case("obs_reserved_index_column", "in.h5ad", begins, 300, "'_index' is now '_index_'"),
    Case("five_cells", "three.h5ad", begins, "there are 3 cells, and a dictionary needs at least 30"),
    Case("five_cells", "in.h5ad", begins, "there are 5 cells, and a dictionary needs at least 30"),
    Case("five_cells", "twenty.h5ad", begins, "there are 20 cells, and a dictionary needs at least 30"),
    Case("soupx_corrected", "in.h5ad", begins, "have them rounded with --round"),
    Case("soupx_corrected", "in.h5ad", begins, 300, options={"round": True}),
    Case("raw_barcodes_unfiltered", "in.h5ad", begins, 3150, "3,000 of 3,150 cells look like empty droplets"),
    Case("gmt_forms", "crlf.gmt", gene_sets, (10, 20)),
    Case("gmt_forms", "weights.gmt", gene_sets, (10, 20)),
    Case("gmt_forms", "lower.gmt", gene_sets, (10, 20)),
    Case("gmt_forms", "ensembl.gmt", gene_sets, (10, 20)),
    Case("gmt_forms", "oldmac.gmt", gene_sets, (10, 20)),
    Case("gmt_forms", "utf16.gmt", gene_sets, (10, 20)),
    Case("gmt_forms", "latin1.gmt", gene_sets, (10, 20)),
    Case("gmt_forms", "comment.gmt", gene_sets, (10, 20)),
    Case("gmt_forms", "msigdb.json", gene_sets, "is JSON, not GMT"),
    Case("gmt_forms", "blank_name.gmt", gene_sets, "line 1: names no term"),
    Case("gmt_forms", "spaces.gmt", gene_sets, "line 1: has no tab"),
]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that runs a script, once, and returns the folder that it wrote."""
    folder = tmp_path_factory.mktemp("cases")

    def make(script: str) -> Path:
        if not (SCRIPTS / f"{script}.py").is_file():
            pytest.skip(f"the script of this case is not beside the project: {script}.py")
        target = folder / script
        if not target.exists():
            for needed, below in NEEDS.get(script, ()):
                _run(needed, folder / below)
            _run(script, target)
        return target

    return make


NEEDS: dict[str, list[tuple[str, str]]] = {"scgpt_folders": [("make_small_transformers", "small_transformers")]}
"""Scripts that must have run before, each with the folder that it writes, beside that of the case."""


def _run(script: str, target: Path) -> str:
    """Run a script in this process, which has anndata imported; skip where a package that it needs is absent.

    Return what it prints.
    """
    printed = io.StringIO()
    with _as_a_program(script, target), warnings.catch_warnings(), contextlib.redirect_stdout(printed):
        try:
            runpy.run_path(str(SCRIPTS / f"{script}.py"), run_name="__main__")
        except ModuleNotFoundError as error:
            pytest.skip(f"{script}.py needs a package that is not installed: {error.name}")
    return printed.getvalue()


@contextlib.contextmanager
def _as_a_program(script: str, target: Path) -> Iterator[None]:
    argv, path, cached = sys.argv, sys.path, sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # the scripts lie in a folder of others
    other = sys.modules.pop("common", None)  # the benchmarks have a module of that name too
    sys.argv, sys.path = [f"{script}.py", str(target)], [str(SCRIPTS), *path]
    try:
        yield
    finally:
        sys.argv, sys.path, sys.dont_write_bytecode = argv, path, cached
        sys.modules.pop("common", None)
        if other is not None:
            sys.modules["common"] = other


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.script}/{case.path}")
def test_a_case_gives_what_is_right(case: Case, made: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    path = made(case.script) / case.path
    if isinstance(case.right, str):
        with pytest.raises(InputError) as refused:
            case.given_to(path, **case.options)
        said = str(refused.value)
        assert case.right in said
        assert path.name in said
        assert "\n" not in said
        return
    with caplog.at_level(logging.WARNING, logger="cellglass"):
        assert case.given_to(path, **case.options) == case.right
    assert case.said in caplog.text
    if not case.said:
        assert not caplog.text


@pytest.mark.slow
def test_obs_columns_of_every_type_and_name_are_written(tmp_path: Path) -> None:
    script = "obs_types_and_names_in_memory"
    if not (SCRIPTS / f"{script}.py").is_file():
        pytest.skip(f"the script of this case is not beside the project: {script}.py")
    told = _run(script, tmp_path / "cases").splitlines()
    assert len(told) > 40
    assert not [line for line in told if "FAILS" in line]
