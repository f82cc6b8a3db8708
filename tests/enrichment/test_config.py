"""What a configuration refuses, with the name of the field and the way out."""

import pytest

from cellglass.enrichment.config import EnrichmentConfig
from cellglass.errors import InputError
from cellglass.vocabulary import TESTS


def test_all_built_in_tests_are_the_default():
    assert EnrichmentConfig().tests == tuple(TESTS)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"tests": ("gsae",)},
            "enrichment.tests: there is no gene-set test 'gsae'; did you mean gsea? there are",
        ),
        ({"tests": ()}, "enrichment.tests is empty; it can hold gsea, ulm, ora"),
        ({"tests": ("ulm", "ulm")}, "enrichment.tests has 'ulm' twice"),
        ({"gene_sets": ()}, "enrichment.gene_sets is empty; name a source such as bundled"),
        ({"min_size": 0}, "enrichment.min_size is 0; it must be at least 1"),
        ({"min_size": 9, "max_size": 8}, "enrichment.min_size is 9 and max_size 8"),
        ({"max_size": 0}, "enrichment.max_size is 0"),
        ({"permutations": 9}, "enrichment.permutations is 9; it must be at least 10"),
        ({"top_n": 0}, "enrichment.top_n is 0"),
        ({"null_draws": -1}, "enrichment.null_draws is -1; it must be at least 0"),
        ({"alpha": 0.0}, "enrichment.alpha is 0.0; it must be above 0"),
        ({"alpha": float("nan")}, "enrichment.alpha is nan"),
    ],
)
def test_what_cannot_be_is_named(fields, says):
    with pytest.raises(InputError) as caught:
        EnrichmentConfig(**fields)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
