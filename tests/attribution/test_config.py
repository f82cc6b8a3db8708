"""Settings of attribution: defaults that can be, and what is refused in plain words."""

import pytest

from cellglass.attribution import METHODS, AttributionConfig
from cellglass.errors import InputError


def test_by_default_all_methods_of_ours_are_run():
    assert AttributionConfig().methods == ("path", "swap", "knockout", "de")
    assert set(AttributionConfig().methods) <= set(METHODS)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"methods": ("swop",)}, "attribution.methods: there is no attribution method 'swop'; did you mean swap?"),
        ({"methods": ()}, "attribution.methods is empty; it can hold path, swap, shapley, gradient, knockout, de"),
        ({"on": ("latent",)}, "attribution.on has 'latent'; it can hold activation, preactivation"),
        ({"on": ()}, "attribution.on is empty"),
        ({"path_on": ("expression",)}, "attribution.path_on has 'expression'"),
        ({"path_on": ()}, "attribution.path_on is empty"),
        ({"choose": "best"}, "attribution.choose is 'best'; it can be top or quantiles"),
        ({"null": "far"}, "attribution.null is 'far'; it can be matched or random"),
        ({"prototypes": 1}, "attribution.prototypes is 1; it must be at least 2"),
        ({"partners": 0}, "attribution.partners is 0"),
        ({"genes": 0}, "attribution.genes is 0; it must be at least 1"),
        ({"steps": 0}, "attribution.steps is 0"),
        ({"token_steps": 0}, "attribution.token_steps is 0"),
        ({"budget": 1.5}, "attribution.budget is 1.5"),
        ({"screen": "luck"}, "attribution.screen is 'luck'"),
        ({"orders": 0}, "attribution.orders is 0; it must be at least 1"),
        ({"max_candidates": 0}, "attribution.max_candidates is 0"),
        ({"max_cells": 1}, "attribution.max_cells is 1; it must be at least 2"),
    ],
)
def test_what_cannot_be_is_refused(wrong, says):
    with pytest.raises(InputError) as caught:
        AttributionConfig(**wrong)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
