"""BatchTopK: encoding equals training's choice where the threshold is the batch's own; the threshold follows it."""

import pytest
import torch

from cellglass.dictionaries import BatchTopK, BatchTopKConfig
from cellglass.dictionaries.sparse_ops.products import Pattern
from cellglass.dictionaries.sparse_ops.selection import Chosen


@pytest.fixture
def dictionary() -> BatchTopK:
    noise = torch.Generator().manual_seed(0)
    made = BatchTopK(BatchTopKConfig(5, 40, 3))
    with torch.no_grad():
        made.encoder.copy_(torch.randn(40, 5, generator=noise))
    return made


def test_at_the_threshold_of_the_batch_encoding_keeps_what_training_keeps(dictionary) -> None:
    u = torch.randn(200, 5, generator=torch.Generator().manual_seed(1))
    (chosen,) = dictionary.choose(u, dictionary.training_rules(200))
    assert len(chosen.value) == 600
    dictionary.begin(u, u, 0)
    (found,) = dictionary.choose(u, dictionary.rules())
    dense, wanted = (some.pattern.dense(some.value) for some in (found, chosen))
    near = ((wanted - dictionary.threshold).abs() < 1e-5) | ((dense - dictionary.threshold).abs() < 1e-5)
    clear = ~near  # of what lies at the threshold, rounding decides
    assert int(near.sum()) <= 2
    assert torch.allclose(dense[clear], wanted[clear], atol=1e-6)
    counts = chosen.pattern.start.diff()
    assert int(counts.min()) < 3 < int(counts.max())


def test_the_threshold_is_the_running_mean_of_the_least_that_is_kept(dictionary) -> None:
    def settle(values: list[float]) -> None:
        pattern = Pattern(torch.tensor([0, len(values)]).int(), torch.arange(len(values)).int(), 40)
        dictionary.settle([Chosen(pattern, torch.tensor(values))], None, lambda value: value)

    dictionary.threshold.fill_(1.0)
    wanted = 1.0
    for least in (3.0, 0.5, 2.0):
        settle([least + 1, least, least + 4])
        wanted += 0.05 * (least - wanted)
        assert float(dictionary.threshold) == pytest.approx(wanted)
    settle([])
    assert float(dictionary.threshold) == pytest.approx(wanted)
    for _ in range(300):
        settle([0.25, 7.0])
    assert float(dictionary.threshold) == pytest.approx(0.25, abs=1e-3)


def test_decoder_rows_are_brought_back_to_norm_one(dictionary) -> None:
    with torch.no_grad():
        dictionary.decoder.copy_(torch.randn(40, 5) * 3)
    dictionary.settle([Chosen(Pattern(torch.zeros(2).int(), torch.empty(0).int(), 40), torch.empty(0))], None, abs)
    assert torch.allclose(dictionary.decoder.norm(dim=1), torch.ones(40), atol=1e-6)
