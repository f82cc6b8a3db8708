"""How files are packed and shortened for a report: they come back, and keep what stands first."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cellglass.explorer.data import parts
from cellglass.explorer.data.parts import PARTS, pack, short_cards, short_lists, short_pairs, unpack


@given(st.binary(max_size=300))
def test_what_is_packed_comes_back_and_cannot_be_markup(content: bytes) -> None:
    assert unpack(pack(content)) == content
    assert pack(content) == pack(content)
    assert not set("<>&\"' \n") & set(pack(content))


def test_a_short_card_has_the_first_rows_and_the_real_pairs_of_the_first_prototypes() -> None:
    rows = [[gene, 0.1, 0.01, 0.1, 0.02, 9] for gene in range(50)]
    lost = [[gene, 0.1, 0.01, -0.1, 0.02, 9] for gene in range(60, 80)]
    terms = [[term, 1.5, 0.1, 0.2, 30, list(range(term, term + 20))] for term in range(20)]
    pairs = [
        [prototype, 90 + i, kind, 0.5] for prototype in range(5) for i, kind in enumerate(("real", "null", "real"))
    ]
    card: dict[str, Any] = {
        "genes": {"path/activation": rows + lost, "de/expression": rows[:4]},
        "pathways": [{"test": "gsea", "tested": 90, "terms": terms}],
        "pairs": pairs,
        "nearest": [[3, 0.5]],
    }
    assert short_cards({"7": card}, 15, 12, 4) == {
        "7": {
            "genes": {"path/activation": rows[:15] + lost[:15], "de/expression": rows[:4]},
            "pathways": [{"test": "gsea", "tested": 90, "terms": [[*row[:5], row[5][:4]] for row in terms[:12]]}],
            "pairs": [pair for pair in pairs if pair[0] < parts.FIRST_PROTOTYPES and pair[2] == "real"],
            "n_pairs": 10,
            "nearest": [[3, 0.5]],
        }
    }


def test_short_lists_keep_the_first_of_each_group() -> None:
    rows = [[latent, method, test, 0.1] for method in range(3) for test in range(2) for latent in range(40)]
    first = parts.FIRST_CONCEPTS
    by_method = short_lists({"5": rows, "6": []}, 1)
    assert by_method == {"5": [row for m in range(3) for row in [r for r in rows if r[1] == m][:first]], "6": []}
    by_both = short_lists({"5": rows}, 2)["5"]
    assert by_both == [row for row in rows if row[0] < first]


def test_short_pairs_are_first_prototypes_with_their_first_partner() -> None:
    whole = [{"prototype": p, "partners": [{"partner": 10 * p}, {"partner": 10 * p + 1}]} for p in range(9)]
    assert short_pairs(whole) == [
        {"prototype": p, "partners": [{"partner": 10 * p}]} for p in range(parts.FIRST_PROTOTYPES)
    ]


def test_all_parts_together_leave_a_report_of_40_megabytes_room_for_maps() -> None:
    assert sum(part.room for part in PARTS.values()) <= 28 << 20
