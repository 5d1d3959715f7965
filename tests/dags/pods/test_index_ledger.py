"""The ledger of a set's indices, and how it writes lists of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_pods.index_ledger import IndexLedger, compressed


def test_indices_are_written_one_by_one_and_as_ranges() -> None:
    assert compressed([3, 17, 18, 19]) == "3,17-19"
    assert compressed([]) == ""


@given(st.sets(st.integers(0, 500)), st.integers(5, 100))
def test_what_does_not_fit_into_a_list_is_counted(indices: set[int], most: int) -> None:
    text, _, more = compressed(sorted(indices), most).partition(" and ")
    assert len(text) <= most
    named = [part.partition("-") for part in text.split(",") if part]
    written = {index for first, _, last in named for index in range(int(first), int(last or first) + 1)}
    left_out = int(more.removesuffix(" more") or 0)
    assert sorted(written) == sorted(indices)[: len(indices) - left_out]


def test_a_ledger_gives_each_new_index_out_once_and_those_given_back_first() -> None:
    ledger = IndexLedger(4)
    ledger.take(1)
    ledger.succeed(2)
    assert ledger.take_next() == 0
    ledger.give_back(1)
    assert [ledger.take_next() for _ in range(3)] == [1, 3, None]
    ledger.fail(1)
    assert (ledger.succeeded, ledger.failed, ledger.remaining) == (1, 1, 2)
    assert ledger.failed_indices() == "1"
