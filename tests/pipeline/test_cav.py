"""The direction of a label of a run: planted types are told, and a file of names does as a column does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import open_atlas
from cellglass.errors import InputError
from cellglass.pipeline.cav import MOST_CELLS, _some, found_in, label_direction
from cellglass.pipeline.run import Run

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def atlas(small_run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run.folder, tmp_path / "atlas"))


@pytest.fixture
def value(atlas: Path) -> str:
    return str(open_atlas(atlas).concepts.obs["cell_type"].astype(str).value_counts().index[0])


def test_a_type_is_told_and_its_genes_are_those_that_its_cells_have(atlas: Path, value: str, tmp_path: Path) -> None:
    found = label_direction(atlas, label=f"cell_type={value}", draws=20)
    about = found.about
    assert about["accuracy"] > about["accuracy_random"] + 5 * about["accuracy_random_sd"]
    assert len(found.genes) == 150
    assert found.genes["change"].abs().is_monotonic_decreasing
    assert about["agreement"] == np.corrcoef(found.genes["change"], found.genes["observed"])[0, 1]
    assert min(about["agreement"], about["agreement_mean_difference"]) > 0  # of a model that was fitted for a moment
    var = open_atlas(atlas).concepts.var
    assert set(found.concepts["concept"]) <= set(var.index)
    latent = found.concepts["latent"].iloc[0]
    assert var.loc[found.concepts["concept"].iloc[0], "latent"] == latent
    counts = found_in(found)
    assert counts["concepts"] == (found.concepts["correlation_q"] < 0.05).sum()
    assert counts["genes_special"] <= counts["genes"]

    obs = open_atlas(atlas).concepts.obs
    (tmp_path / "mine.txt").write_text("\n".join(obs.index[obs["cell_type"].astype(str) == value]) + "\n")
    same = label_direction(atlas, barcodes=tmp_path / "mine.txt", draws=20)
    assert same.about["n"] == about["n"]
    assert abs(same.vector @ found.vector) > 0.8  # of other halves of the cells


def test_the_command_writes_both_tables_and_says_what_they_hold(atlas: Path, value: str, command: Command) -> None:
    status, shown, _ = command("cav", str(atlas), "--label", f"cell_type={value}", "--draws", "10", "--quiet")
    assert status == 0
    assert "against random labels" in shown
    assert "along the difference of means: " in shown
    status, shown, _ = command("cav", str(atlas), "--label", f"cell_type={value}", "--draws", "10", "--json")
    said = json.loads(shown)
    assert said["site"] == "z"
    assert len(pd.read_csv(atlas / "cav.csv")) == len(pd.read_csv(said["files"]["concepts"]))
    assert len(pd.read_csv(atlas / "cav.genes.csv")) == 150


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say which cells: --label COLUMN=VALUE, or --cells"),
        (("--label", "cell_type"), "write COLUMN=VALUE"),
        (("--label", "nothing=1"), "there is no obs column 'nothing'; the columns are: "),
        (("--label", "cell_type=nothing"), "no cell has cell_type = 'nothing'; the values are: "),
        (("--cells", "nowhere.txt"), "there is no such file"),
        (("--cells", "names.txt"), "1 of 2 names are no cells"),
        (("--label", "cell_type=A", "--cells", "names.txt"), "and not both"),
    ],
)
def test_wrong_use_is_one_line(
    small_run: Run, words: tuple[str, ...], message: str, command: Command, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    first = open_atlas(small_run.folder).concepts.obs.index[0]
    Path("names.txt").write_text(f"{first}\nnobody\n")
    status, _, error = command("cav", str(small_run.folder), *words, "--quiet")
    assert status == 2
    assert message in error
    assert len(error.splitlines()) == 1


def test_without_counts_there_are_no_genes_and_without_activations_nothing(atlas: Path, value: str) -> None:
    shutil.rmtree(atlas / "work" / "explained")
    found = label_direction(atlas, label=f"cell_type={value}", draws=3)
    assert not len(found.genes)
    assert "the counts are gone" in found.about["note"]
    shutil.rmtree(atlas / "work" / "activations")
    with pytest.raises(InputError, match="is gone, so there is no site to read"):
        label_direction(atlas, label=f"cell_type={value}")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_of_many_cells_some_are_looked_at_and_rare_labels_are_kept(share: float) -> None:
    positive = np.random.default_rng(0).random(40_000) < share
    rows = _some(positive, 0)
    assert len(rows) == len(set(rows)) == MOST_CELLS
    assert positive[rows].sum() == min(positive.sum(), max(MOST_CELLS // 2, MOST_CELLS - (~positive).sum()))
    assert (~positive[rows]).sum() > 1000
