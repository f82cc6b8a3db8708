"""Names of nodes: no two tokens alike, all tokens of a gene one source."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cellglass.circuits.names import (
    feature_name,
    feature_of,
    file_name,
    file_word,
    is_feature_name,
    source_groups,
    token_names,
)
from cellglass.errors import InputError
from circuits.graphs import built, by_hand


def test_a_gene_names_its_only_token_and_others_have_their_place() -> None:
    graph = built(tokens=6)
    assert token_names(graph) == ["List", "of", "CD (token 3)", "79A (token 4)", "MS4A1", "NKG7"]
    twice = replace(by_hand(), tokens=[" ", " "], genes=["", ""])
    assert token_names(twice) == ["' ' (token 1)", "' ' (token 2)"]
    assert feature_name(2, 153) == "L2/153"
    assert feature_of(" L2/153") == (2, 153)
    assert [is_feature_name(name) for name in ("L2/153", "L2", "CD79A")] == [True, False, False]
    with pytest.raises(InputError, match="'CD79A' is no name of a feature; write its layer and number"):
        feature_of("CD79A")


def test_all_tokens_of_a_gene_are_one_source() -> None:
    graph = built(tokens=6)
    found = source_groups(graph)
    assert list(found) == ["List", "of", "CD79A", "MS4A1", "NKG7"]
    assert found["CD79A"] == graph.of_kind("token")[[2, 3]].tolist()
    assert sorted(node for nodes in found.values() for node in nodes) == graph.of_kind("token").tolist()


def test_a_file_is_named_safely_and_no_two_questions_alike() -> None:
    assert file_word("../AAAC 1/\u00e9") == "AAAC-1"
    assert file_word("...") == "cell"
    asked = {"cell": "a/b", "target": "B cell", "against": None}
    others = [{**asked, "cell": "a-b"}, {**asked, "against": "T cell"}, {**asked, "target": "B-cell"}]
    assert file_name(asked) == file_name({**asked, "against": ""})
    assert len({file_name(one) for one in (asked, *others)}) == 4
    assert file_name(asked).startswith("a-b_B-cell_")
    assert len(file_name({**asked, "cell": "x" * 300, "target": "y" * 300})) == 40 + 1 + 40 + 1 + 8
