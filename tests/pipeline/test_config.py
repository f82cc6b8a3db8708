"""Options: what is taken, and what is refused with its name and a way out."""

import re
from pathlib import Path

import pytest

from cellglass.attribution import AttributionConfig
from cellglass.dictionaries.registry import KINDS, trained
from cellglass.enrichment.config import EnrichmentConfig
from cellglass.errors import InputError
from cellglass.pipeline.config import DictionaryConfig, RunConfig, make_config, merge, read_toml
from cellglass.settings import settings_of
from cellglass.vocabulary import DICTIONARIES


def test_every_kind_that_can_be_trained_may_be_asked_for() -> None:
    for kind in trained():
        assert make_config({"dictionary": {"kind": kind}}).dictionary.kind == kind


def test_the_help_names_the_kinds_of_dictionary() -> None:
    said = settings_of(DictionaryConfig)["kind"].doc
    assert [name for name in re.findall(r"\w+", said) if name in KINDS] == list(DICTIONARIES)


def test_a_toml_file_and_flags_make_one_config(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('seed = 3\n[model]\nepochs = 7\ngenes = 50\n[cells]\nlabels = ["type"]\n')
    flags = {"model": {"epochs": 9, "path": None}, "cells": {"labels": []}, "seed": None}
    config = make_config(merge(read_toml(file), flags))
    assert (config.seed, config.model.epochs, config.model.genes) == (3, 9, 50)
    assert config.cells.labels == ("type",)
    assert config.dictionary == RunConfig().dictionary
    assert make_config(config.as_dict()) == config


def test_numbers_may_have_decimals_where_the_field_has(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[enrichment]\nalpha = 0.1\nnull_draws = 3\n")
    config = make_config(read_toml(file))
    assert config.enrichment == EnrichmentConfig(alpha=0.1, null_draws=3)
    assert make_config(config.as_dict()) == config
    whole = make_config({"enrichment": {"alpha": 1}}).enrichment.alpha
    assert isinstance(whole, float)


def test_a_toml_file_says_everything_of_attribution(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        '[attribution]\nmethods = ["path", "de"]\nprototypes = 7\nmatch_depth = false\nchoose = "quantiles"\n'
        'path_on = ["activation", "preactivation"]\nmax_cells = 100\n'
    )
    config = make_config(read_toml(file)).attribution
    assert config == AttributionConfig(
        methods=("path", "de"),
        prototypes=7,
        match_depth=False,
        choose="quantiles",
        path_on=("activation", "preactivation"),
        max_cells=100,
    )


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"model": {"epoch": 3}}, "there is no option model.epoch; did you mean model.epochs?"),
        ({"zzz": 3}, "there is no option zzz; known: cells"),
        ({"model": {"epochs": "many"}}, "model.epochs is 'many'; it must be a whole number"),
        ({"model": {"epochs": True}}, "model.epochs is True; it must be a whole number"),
        ({"model": {"epochs": 0}}, "model.epochs is 0; it must be at least 1"),
        ({"model": 3}, "model must be a table, not 3"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"cells": {"labels": "type"}}, "cells.labels is 'type'; it must be a list of texts"),
        ({"dictionary": {"kind": "nmf"}}, "it can be consensus, matryoshka, matryoshka_batchtopk, topk"),
        ({"dictionary": {"latents": 1}}, "dictionary.latents is 1; it must be at least 2"),
        (
            {"attribution": {"methods": ["swap", "guess"]}},
            "attribution.methods: there is no attribution method 'guess'; there are: path, swap",
        ),
        ({"attribution": {"match_depth": 1}}, "attribution.match_depth is 1; it must be true or false"),
        ({"attribution": {"match_depth": "no"}}, "attribution.match_depth is 'no'; it must be true or false"),
        ({"enrichment": {"tests": []}}, "enrichment.tests is empty"),
        ({"enrichment": {"gene_sets": []}}, "enrichment.gene_sets is empty"),
        ({"enrichment": {"tests": ["gsae"]}}, "enrichment.tests: there is no gene-set test 'gsae'; did you mean gsea?"),
        ({"enrichment": {"permutations": 9}}, "enrichment.permutations is 9; it must be at least 10"),
        ({"enrichment": {"alpha": "low"}}, "enrichment.alpha is 'low'; it must be a number"),
        ({"enrichment": {"alpha": True}}, "enrichment.alpha is True; it must be a number"),
        ({"enrichment": {"alpha": 2}}, "enrichment.alpha is 2.0; it must be above 0 and at most 1"),
        ({"enrichment": {"null_draws": 0.5}}, "enrichment.null_draws is 0.5; it must be a whole number"),
    ],
)
def test_wrong_options_are_named(tables: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        make_config(tables, where="run.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(b"seed = ", "not valid TOML"), (b"\xff\xfe", "cannot be read as a TOML")]
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_toml(file)
    with pytest.raises(InputError, match="there is no file"):
        read_toml(tmp_path / "other.toml")


def test_columns_have_the_names_that_an_atlas_gives_them() -> None:
    tables = {"cells": {"labels": ["T/NK", "fine"], "batch": "_index"}, "attribution": {"match": ["a\\b"]}, "seed": 3}
    safe = make_config(tables).with_safe_columns()
    assert safe.columns == ["T_NK", "fine", "a_b", "_index_"]
    assert safe.seed == 3
    assert safe.with_safe_columns() == safe
    assert RunConfig().with_safe_columns() == RunConfig()
