import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellglass.enrichment.names import machine_names
from cellglass.errors import InputError


def one(label=None, f1=math.nan, term=None, q=math.nan, gene=None, latent=7):
    return machine_names([label], [f1], [term], [q], [gene], [latent])[0]


def test_what_is_named():
    assert (
        one("B cell", 0.9, "HALLMARK_IL2_STAT5_SIGNALING", 0.01, "CD79A") == "c7 B cell | il2 stat5 signaling | CD79A"
    )
    assert (
        one("B cell", 0.49, "inflammatory response (GO:0006954)", 0.01, "S100A9") == "c7 inflammatory response | S100A9"
    )
    assert one("B cell", 0.5, "x", 0.05, "S100A9") == "c7 B cell | S100A9"
    assert one(term="DNA Repair_Homo sapiens_R-HSA-73894", q=0.0) == "c7 DNA Repair"
    assert one("CD4+/CD25 T Reg", 1.0) == "c7 CD4+ CD25 T Reg"
    assert one() == one(label="nan", f1=1.0, term="", q=0.0) == "c7"


def test_what_is_not_significant_is_not_named_and_what_is_absent_is_called_low():
    given = {"best_label_q": [0.01], "best_term_statistic": [-2.0], "top_gene_q": [0.01], "top_gene_score": [-0.2]}

    def named(**changed):
        return machine_names(["NK"], [0.9], ["HALLMARK_HYPOXIA_X"], [0.01], ["STAT1"], [3], **{**given, **changed})[0]

    assert named() == "c3 NK | low hypoxia x | low STAT1"
    assert named(best_term_statistic=[2.0], top_gene_score=[0.2]) == "c3 NK | hypoxia x | STAT1"
    for q in (0.05, math.nan):
        assert named(best_label_q=[q]) == "c3 low hypoxia x | low STAT1"
        assert named(top_gene_q=[q]) == "c3 NK | low hypoxia x"
    with pytest.raises(InputError, match="give one each"):
        named(top_gene_q=[])


@given(
    rows=st.lists(st.tuples(*[st.text(max_size=90)] * 3, *[st.floats(0, 1)] * 2), max_size=6),
)
def test_names_are_unique_short_and_plain(rows):
    columns = list(zip(*rows, strict=True)) or [(), (), (), (), ()]
    labels, terms, genes, f1, q = columns
    names = machine_names(labels, f1, terms, q, genes, range(len(rows)))
    assert len(set(names)) == len(rows)
    for name in names:
        assert 2 <= len(name) <= 60
        assert not set("/\t\n") & set(name)
        assert name == name.strip()


def test_a_long_term_is_cut_and_the_gene_stays():
    name = one("CD14 monocyte", 0.8, "positive regulation of tumor necrosis factor superfamily cytokine", 0.01, "LYZ")
    assert name == "c7 CD14 monocyte | positive regulation of tumor necro… | LYZ"
    assert one("T" * 80, 0.8, gene="LYZ") == f"c7 {'T' * 50}… | LYZ"


def test_wrong_columns_are_refused():
    with pytest.raises(InputError, match="comes twice"):
        machine_names([None] * 2, [0.0] * 2, [None] * 2, [1.0] * 2, [None] * 2, [3, 3])
    with pytest.raises(InputError, match="give one each"):
        machine_names([None], [0.0], [None], [1.0], [None], [3, 4])
