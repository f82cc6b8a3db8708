"""The command line: help that teaches, wrong use that says so in one line, and nothing written or damaged by it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.files import sha256

Outcome = tuple[int, str, str]


def _counts(n_cells: int = 40, n_genes: int = 30) -> ad.AnnData:
    rng = np.random.default_rng(0)
    X = sp.csr_matrix(rng.poisson(1.0, (n_cells, n_genes)).astype(np.float32))
    obs = pd.DataFrame({"type": np.repeat(["a", "b"], n_cells // 2)}, index=[f"cell{i}" for i in range(n_cells)])
    return ad.AnnData(X=X, obs=obs, var=pd.DataFrame(index=[f"GENE{i}" for i in range(n_genes)]))


def _changed(folder: Path, name: str, change: Callable[[ad.AnnData], None]) -> Path:
    adata = _counts()
    change(adata)
    adata.write_h5ad(folder / name)
    return folder / name


def _negative(a: ad.AnnData) -> None:
    a.X = a.X.toarray() - 1.0


def _fractional(a: ad.AnnData) -> None:
    a.X = a.X.toarray() + np.random.default_rng(1).random(a.shape).astype(np.float32)


def _logged(a: ad.AnnData) -> None:
    x = a.X.toarray()
    a.X = np.log1p(x / x.sum(1, keepdims=True) * 1e4).astype(np.float32)


def _scaled(a: ad.AnnData) -> None:
    x = np.log1p(a.X.toarray())
    a.X = ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def _with_nan(a: ad.AnnData) -> None:
    x = a.X.toarray()
    x[3, 4] = np.nan
    a.X = x


def _with_infinity(a: ad.AnnData) -> None:
    x = a.X.toarray()
    x[3, 4] = np.inf
    a.X = x


def _same_names(a: ad.AnnData) -> None:
    a.obs_names = ["cell0"] * a.n_obs


def _make_inputs(folder: Path) -> None:
    """Write one file for each wrong input."""
    files = {
        name: _changed(folder, f"{name}.h5ad", change)
        for name, change in {
            "good": lambda a: None,
            "negative": _negative,
            "fractional": _fractional,
            "logged": _logged,
            "scaled": _scaled,
            "nan": _with_nan,
            "infinity": _with_infinity,
            "same_names": _same_names,
        }.items()
    }
    _counts()[:0].copy().write_h5ad(folder / "no_cells.h5ad")
    _counts()[:, :0].copy().write_h5ad(folder / "no_genes.h5ad")
    whole = files["good"].read_bytes()
    (folder / "truncated.h5ad").write_bytes(whole[: len(whole) // 2])
    (folder / "text.h5ad").write_text("no AnnData at all")
    (folder / "table.csv").write_text("a,b\n1,2\n")
    (folder / "empty_folder").mkdir()
    (folder / "full_folder").mkdir()
    (folder / "full_folder" / "thesis.txt").write_text("precious")
    (folder / "broken.toml").write_text("seed = ")
    (folder / "unknown.toml").write_text("[model]\nepoch = 3\n")
    (folder / "empty.gmt").write_text("")
    (folder / "strangers.gmt").write_text("SET\tsource\t" + "\t".join(f"OTHER{i}" for i in range(20)) + "\n")
    (folder / "no_model").mkdir()


WRONG = {
    "no such file": (["run", "{nothing.h5ad}", "--out", "{out}"], "nothing.h5ad"),
    "text named h5ad": (["run", "{text.h5ad}", "--out", "{out}"], "text.h5ad"),
    "truncated file": (["run", "{truncated.h5ad}", "--out", "{out}"], "truncated.h5ad"),
    "unknown kind of file": (["run", "{table.csv}", "--out", "{out}"], "table.csv"),
    "folder without cells": (["run", "{empty_folder}", "--out", "{out}"], "empty_folder"),
    "negative values": (["run", "{negative.h5ad}", "--out", "{out}"], "negative"),
    "fractional values": (["run", "{fractional.h5ad}", "--out", "{out}"], "X"),
    "log values": (["run", "{logged.h5ad}", "--out", "{out}"], "log"),
    "scaled values": (["run", "{scaled.h5ad}", "--out", "{out}"], "scaled"),
    "NaN": (["run", "{nan.h5ad}", "--out", "{out}"], "NaN"),
    "infinity": (["run", "{infinity.h5ad}", "--out", "{out}"], "inf"),
    "duplicated cell names": (["run", "{same_names.h5ad}", "--out", "{out}"], "cell0"),
    "no cells": (["run", "{no_cells.h5ad}", "--out", "{out}"], "no cells"),
    "no genes": (["run", "{no_genes.h5ad}", "--out", "{out}"], "no genes"),
    "no such label column": (["run", "{good.h5ad}", "--labels", "celltypo", "--out", "{out}"], "celltypo"),
    "no such batch column": (["run", "{good.h5ad}", "--batch", "donor", "--out", "{out}"], "donor"),
    "no such match column": (["run", "{good.h5ad}", "--match", "donor", "--out", "{out}"], "donor"),
    "no such layer": (["run", "{good.h5ad}", "--counts", "umis", "--out", "{out}"], "umis"),
    "no such gene id column": (["run", "{good.h5ad}", "--gene-ids", "ensembl", "--out", "{out}"], "ensembl"),
    "no such model": (["run", "{good.h5ad}", "--model", "{nowhere}", "--out", "{out}"], "nowhere"),
    "folder without a model": (["run", "{good.h5ad}", "--model", "{no_model}", "--out", "{out}"], "no_model"),
    "no such embedding": (["run", "{good.h5ad}", "--model", "obsm:X_uce", "--out", "{out}"], "X_uce"),
    "no such site": (["run", "{good.h5ad}", "--site", "layers.3", "--epochs", "1", "--out", "{out}"], "layers.3"),
    "broken TOML": (["run", "{good.h5ad}", "--config", "{broken.toml}", "--out", "{out}"], "broken.toml"),
    "unknown option in TOML": (
        ["run", "{good.h5ad}", "-c", "{unknown.toml}", "--out", "{out}"],
        "did you mean model.epochs",
    ),
    "no such gene-set file": (["run", "{good.h5ad}", "--gene-sets", "{nothing.gmt}", "--out", "{out}"], "nothing.gmt"),
    "empty gene-set file": (["run", "{good.h5ad}", "--gene-sets", "{empty.gmt}", "--out", "{out}"], "empty.gmt"),
    "unknown gene-set source": (["run", "{good.h5ad}", "--gene-sets", "kegg", "--out", "{out}"], "kegg"),
    "unknown method": (["run", "{good.h5ad}", "--method", "guess", "--out", "{out}"], "guess"),
    "no epochs": (["run", "{good.h5ad}", "--epochs", "0", "--out", "{out}"], "model.epochs"),
    "more active latents than latents": (["run", "{good.h5ad}", "--latents", "4", "--k", "9", "--out", "{out}"], "k"),
    "word for a number": (["run", "{good.h5ad}", "--epochs", "many", "--out", "{out}"], "--epochs"),
    "no output folder named": (["run", "{good.h5ad}"], "--out"),
    "output is a file": (["run", "{good.h5ad}", "--out", "{table.csv}"], "table.csv"),
    "output holds other things": (["run", "{good.h5ad}", "--out", "{full_folder}"], "full_folder"),
    "unknown option": (["run", "{good.h5ad}", "--celltype", "x", "--out", "{out}"], "--celltype"),
    "unknown command": (["explain", "{good.h5ad}"], "explain"),
    "report of no atlas": (["report", "{empty_folder}"], "empty_folder"),
    "info of nothing": (["info", "{nowhere}"], "nowhere"),
    "info of a file": (["info", "{table.csv}"], "table.csv"),
    "comparison with nothing": (["compare", "{nowhere}", "{full_folder}"], "nowhere"),
    "comparison of no atlases": (["compare", "{full_folder}", "{full_folder}"], "full_folder"),
    "comparison with one atlas": (["compare", "{full_folder}"], "B"),
    "comparison into a folder": (["compare", "{nowhere}", "{nowhere}", "--out", "{full_folder}"], "full_folder"),
    "word for a threshold": (["compare", "{nowhere}", "{nowhere}", "--threshold", "high"], "--threshold"),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    _make_inputs(folder)
    return folder


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_and_harms_nothing(case: str, inputs: Path, command: Callable[..., Outcome]) -> None:
    arguments, named = WRONG[case]
    filled = [
        str(inputs / argument[1:-1]) if argument.startswith("{") and argument.endswith("}") else argument
        for argument in arguments
    ]
    before = sha256(inputs)
    status, out, err = command(*filled)
    # Progress says what is going on; the error itself is the one line that begins with the program's name.
    errors = [line for line in err.splitlines() if not re.match(r"\[\d+:\d\d\] ", line)]
    assert status == 2, err
    assert len(errors) == 1, err
    assert errors[0].startswith("cellglass: ")
    assert named in errors[0]
    assert "Traceback" not in err
    assert out == ""
    assert sha256(inputs) == before
    assert not (inputs / "out").exists()


def test_help_teaches(command: Callable[..., Outcome]) -> None:
    status, out, _ = command("--help")
    assert status == 0
    for word in ("run", "demo", "report", "info", "compare", "genesets", "concepts"):
        assert word in out
    status, out, _ = command("run", "--help")
    assert status == 0
    assert "Example" in out
    assert "--gene-sets" in out


def test_version(command: Callable[..., Outcome]) -> None:
    from cellglass import __version__

    assert command("--version")[:2] == (0, f"cellglass {__version__}\n")


def test_the_installed_command_and_the_module_are_the_same() -> None:
    for program in ([str(Path(sys.executable).parent / "cellglass")], [sys.executable, "-m", "cellglass"]):
        done = subprocess.run([*program, "info", "nowhere"], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "nowhere" in done.stderr


def test_gene_set_sources_are_listed_for_machines(command: Callable[..., Outcome]) -> None:
    status, out, _ = command("genesets", "--json")
    assert status == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert set(rows) == {"bundled", "hallmark", "reactome", "go-bp"}
    assert rows["bundled"]["sets"] >= 80


def test_a_failure_that_is_not_the_users_is_one_line_with_status_1(
    command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("cellglass.pipeline.explain.run_pipeline", broken)
    status, _, err = command("demo", "--out", str(tmp_path / "x"))
    assert status == 1
    assert err.count("\n") == 1
    assert "No space left on device" in err
