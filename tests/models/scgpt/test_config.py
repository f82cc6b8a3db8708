import json

import pytest

from cellglass.errors import InputError
from cellglass.models.scgpt.config import ScgptConfig


def test_the_configuration_survives_json():
    cfg = ScgptConfig(30, 16, 2, 4, 8, value_style="category", n_values=53, pad_value=51, mask_value=52)
    assert ScgptConfig(**json.loads(json.dumps(cfg.to_dict()))) == cfg


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 10, "n_heads": 4}, "no multiple of the 4 heads"),
        ({"n_layers": 0}, "n_layers is 0"),
        ({"max_length": 1}, "max_length is 1"),
        ({"value_style": "other"}, "continuous, category, scaling"),
        ({"value_style": "category", "n_values": 50, "pad_value": 51}, "no place for 51 bins"),
        ({"value_style": "category", "n_values": 53, "pad_value": -2}, "padding value -2"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_numbers_that_cannot_be_are_named(wrong, message):
    with pytest.raises(InputError, match=message):
        ScgptConfig(30, **wrong)
