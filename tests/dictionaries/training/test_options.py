"""An option that there is none of is refused, by whatever takes options, and named beside those that there are."""

import pytest
import torch

from cellglass.dictionaries import TopK, TopKConfig, fit, train, train_many
from cellglass.dictionaries.training.options import ManyOptions, TrainOptions, check_options

X = torch.zeros(20, 8)


@pytest.mark.parametrize(
    "call",
    [
        lambda **options: fit("topk", X, **options),
        lambda **options: fit("pca", X, **options),
        lambda **options: train(TopK(TopKConfig(8, 16, 2)), X, **options),
        lambda **options: train_many([TopK(TopKConfig(8, 16, 2))], X, seeds=[0], **options),
    ],
)
def test_an_option_that_is_not_there_is_refused(call) -> None:
    known = r"no option 'taget'; there are: checkpoint, columns, (groups, )?progress, rows_train, rows_valid"
    with pytest.raises(TypeError, match=known):
        call(taget=X)


def test_several_trainings_take_what_one_takes_but_its_seed() -> None:
    assert TrainOptions.__optional_keys__ - ManyOptions.__optional_keys__ == {"seed", "groups"}
    check_options({"seed": 3, "target": X})
    with pytest.raises(TypeError, match="no option 'seed'"):
        check_options({"seed": 3}, ManyOptions)
