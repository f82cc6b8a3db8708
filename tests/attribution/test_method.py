"""A method's facts, and what follows from them for the runner."""

import pytest

from cellglass.attribution import AttributionConfig, Method
from cellglass.attribution.method import needs


def method(**facts):
    return Method(
        **{"name": "m", "title": "Mine", "cost": "Nothing.", "readouts": ("activation",), "rows": None, **facts}
    )


@pytest.mark.parametrize(
    ("facts", "config", "read"),
    [
        ({"counterfactual": True}, {}, ("activation",)),
        ({"counterfactual": True, "readouts": ("activation", "preactivation")}, {}, ("activation", "preactivation")),
        ({"readouts": ("activation", "preactivation")}, {}, ("activation",)),
        (
            {"readouts": ("activation", "preactivation")},
            {"path_on": ("preactivation", "activation", "preactivation")},
            ("preactivation", "activation"),
        ),
        ({"readouts": ("preactivation",)}, {}, ("preactivation",)),
        ({"readouts": ("expression",)}, {}, ("expression",)),
    ],
)
def test_it_is_read_on_what_is_asked_for_and_it_has(facts, config, read):
    assert method(**facts).reads(AttributionConfig(**config)) == read


def test_a_note_says_what_is_missing_and_why(toy):
    assert method().impossible(toy.model, toy.cells, "z") is None
    toy.model.lacks = lambda what, site: f"no {what} at {site}" if what == "decode" else None
    assert method(possible=needs("path")).impossible(toy.model, toy.cells, "z") is None
    assert method(possible=needs("decode")).impossible(toy.model, toy.cells, "z") == "no Mine: no decode at z"
    found = method(possible=needs("decode"), without="nothing of mine").impossible(toy.model, toy.cells, "z")
    assert found == "nothing of mine: no decode at z"


def test_a_method_of_cells_alone_asks_no_model():
    assert method().asks_model
    assert not method(readouts=("expression",)).asks_model
