"""Scores as sums over pairs of parts: they add up, and each pair is its own product."""

from __future__ import annotations

import pytest
import torch

from cellglass.circuits.features import replace_mlps
from cellglass.circuits.qk import score_pairs
from cellglass.circuits.stream import stream_parts
from cellglass.errors import InputError
from circuits.networks import NETS, TOKENS, frozen, transcoders


@pytest.mark.parametrize("name", sorted(NETS))
def test_pairs_add_up_to_the_score(name: str) -> None:
    made = frozen(name, scores=True)
    replacement = replace_mlps(made, transcoders(made, skip=True))
    for layer, head, query, key in [(0, 1, 9, 6), (2, 3, TOKENS - 1, TOKENS - 3)]:
        heads = made.attend(layer).heads
        score = float(heads.looking().scores(heads.looking().read)[head, query, key])
        for stand in (replacement, None):
            found = score_pairs(made, stand, layer, head, query, key)
            assert found.score == pytest.approx(score, rel=1e-9, abs=1e-9)
            assert found.weights.shape == (len(found.query), len(found.key))
            assert found.share == float(heads.pattern[head, query, key])
            assert (found.slope == 1) == (name != "gemma2")


def test_a_pair_is_what_the_score_changes_when_its_two_parts_are_there() -> None:
    """Of four scores, with and without either part: f(a, b) - f(a) - f(b) + f() is the pair's own product."""
    made = frozen("gpt_neox", scores=True)
    replacement = replace_mlps(made, transcoders(made))
    found = score_pairs(made, replacement, 2, 1, 10, 4)
    step, place = made.attend(2), made.ends[2]
    own = step.heads.looking()
    state = list(made.states(made.first, made.mlp_out))[place]
    parts = {token: stream_parts(made, replacement, place, token).vectors for token in (10, 4)}

    def score(without: dict[int, torch.Tensor]) -> float:
        x = state.clone()
        for token, part in without.items():
            x[token] -= part
        return float(own.raw(step.before(x))[1, 10, 4])

    for i, j in [(0, 0), (3, 12), (15, 2)]:
        a, b = {10: parts[10][i]}, {4: parts[4][j]}
        assert found.weights[i, j] == pytest.approx(score({}) - score(a) - score(b) + score({**a, **b}), rel=1e-6)
    row = found.query.index[-1]
    assert found.query.loc[row, ["kind", "label"]].tolist() == ["bias", "query"]
    assert found.key["label"].iloc[-1] == "key"


def test_tables_hold_the_largest_pairs_and_either_side() -> None:
    made = frozen("bert", scores=True)
    found = score_pairs(made, None, 1, 0, 3, 8)
    whole = found.table(None)
    assert len(whole) == found.weights.size
    assert whole["weight"].sum() == pytest.approx(found.score)
    assert whole["weight"].abs().is_monotonic_decreasing
    top = found.table(5)
    assert top.equals(whole.head(5))
    i, j = divmod(int(abs(found.weights).argmax()), found.weights.shape[1])
    first = top.iloc[0]
    assert first["query_kind"] == found.query["kind"][i]
    assert first["key_label"] == found.key["label"][j]
    for side in (found.of_query(), found.of_key()):
        assert side["weight"].sum() == pytest.approx(found.score)


def test_what_is_not_there_is_refused() -> None:
    made = frozen("gemma2", scores=True)
    with pytest.raises(InputError, match="there is no layer 3; the model has layers 0 to 2"):
        score_pairs(made, None, 3, 0, 1, 0)
    with pytest.raises(InputError, match="there is no head 4; layer 0 has heads 0 to 3"):
        score_pairs(made, None, 0, 4, 1, 0)
    with pytest.raises(InputError, match="token 3 does not see token 8 in layer 1"):
        score_pairs(made, None, 1, 0, 3, 8)
    with pytest.raises(InputError, match="there is no token 99"):
        score_pairs(made, None, 1, 0, 99, 8)
    with pytest.raises(InputError, match="freeze it with scores=True"):
        score_pairs(frozen("gemma2"), None, 1, 0, 8, 3)
