"""Rows in any order become sorted series with one row per time, by the rule for duplicates."""

from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import FILE, make_rows, series_of

from datamodules import arrays
from datamodules.tables.rows import Rows, check_duplicates, drop_duplicates, sort_rows
from seqmodels.errors import InputError


@pytest.fixture(params=[1 << 20, 3], ids=["one chunk", "chunks of 3 rows"])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results must not depend on the size of the chunks."""
    monkeypatch.setattr(arrays, "CHUNK", request.param)
    monkeypatch.setattr("datamodules.tables.rows.CHUNK", request.param)


def sort_and_drop(rows: Rows, duplicates: str = "refuse") -> tuple[Rows, list[str]]:
    notes = sort_rows(FILE, rows)
    return rows, notes + drop_duplicates(FILE, rows, (*("y", "z")[: rows.values.shape[1]], "c"), duplicates)


@settings(max_examples=150, deadline=None)
@given(
    ids=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9)), min_size=1, max_size=40, unique=True),
    size=st.sampled_from([2, 5, 1 << 20]),
)
def test_rows_in_any_order_are_sorted_by_series_and_time(ids: list[tuple[str, int]], size: int) -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr(arrays, "CHUNK", size)
    patch.setattr("datamodules.tables.rows.CHUNK", size)
    names, times = zip(*ids, strict=True)
    values = np.arange(len(ids)) + 0.5
    extra = (values * 3).astype(np.float32)[:, None]
    rows = make_rows(values, np.array(times), names, known=extra)
    result, notes = sort_and_drop(rows)
    patch.undo()
    found = series_of(result)
    assert list(found) == list(dict.fromkeys(names))
    for name, part in found.items():
        assert part == sorted((time, i + 0.5, i) for i, (own, time) in enumerate(ids) if own == name)
    assert (result.known == 3 * result.values).all()
    times = [[time for own, time in ids if own == name] for name in {*names}]
    early = sum(later < time for own in times for time, later in pairwise(own))
    were = "1 row was" if early == 1 else f"{early} rows were"
    assert notes == ([f"data.csv: {were} earlier than the row before: sorted by time."] if early else [])


@pytest.mark.usefixtures("chunks")
def test_sorted_rows_are_not_copied() -> None:
    rows = make_rows([1, 2, 3, 4], np.array([5, 6, 1, 2]), "aabb")
    before = rows.values, rows.time
    for array in before:
        array.flags.writeable = False
    result, notes = sort_and_drop(rows)
    assert result.values is before[0] and result.time is before[1]
    assert (
        notes == []
        and result.source_rows is None
        and result.offsets is not None
        and result.offsets.tolist() == [0, 2, 4]
    )


@pytest.mark.usefixtures("chunks")
def test_rows_without_time_are_only_grouped() -> None:
    result, notes = sort_and_drop(make_rows([1, 2, 3, 4, 5, 6, 7], None, "abacaba"))
    assert result.values[:, 0].tolist() == [1, 3, 5, 7, 2, 6, 4] and notes == []
    assert result.offsets is not None and result.offsets.tolist() == [0, 4, 6, 7]
    assert [result.name(row) for row in range(7)] == list("aaaabbc") and result.source_row(6) == 3


def test_more_series_than_16_bits_can_count() -> None:
    number = 70_000
    names = [str(i) for i in range(number)]
    rows = make_rows(np.arange(2 * number), np.repeat([1, 2], number))
    rows.codes, rows.names = np.tile(np.arange(number), 2), tuple(names)
    result, notes = sort_and_drop(rows)
    assert notes == [] and (result.values.reshape(number, 2) == [[i, i + number] for i in range(number)]).all()


DUPLICATED: dict[str, tuple[list[Any], list[Any], str]] = {
    # rule: (values of a at time 1, result, part of the note)
    "exact": ([7, 7], [7], "1 exact duplicate row dropped (first: line 5, 1 of series 'a')"),
    "first": (
        [7, 8, 9],
        [7],
        "2 rows have the same time as another (first: line 5, 1 of series 'a'): the first in the file",
    ),
    "last": ([7, 8, 9], [9], "the last in the file is kept (data.duplicates=last)"),
    "mean": ([7, 7, 1], [5], "their means are taken (data.duplicates=mean)"),
    "sum": ([7, 7, np.nan, 1], [15], "3 rows have the same time as another"),
}


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("rule", DUPLICATED)
def test_rules_for_duplicates(rule: str) -> None:
    given_values, kept, part = DUPLICATED[rule]
    more = len(given_values) - 1
    values = [1, given_values[0], 3, *given_values[1:], 5]
    times = np.array([0, 1, 5, *[1] * more, 7])
    covariate = np.arange(len(values), dtype=np.float32)[:, None]
    if rule == "exact":
        covariate[3] = covariate[1]
    rows = make_rows(values, times, ["a", "a", "b", *"a" * more, "b"], past=covariate)
    result, notes = sort_and_drop(rows, duplicates="refuse" if rule == "exact" else rule)
    assert result.values[:, 0].tolist() == [1, *kept, 3, 5] and result.time is not None
    assert result.time.tolist() == [0, 1, 5, 7] and result.offsets is not None and result.offsets.tolist() == [0, 2, 4]
    assert result.past[1, 0] == (1 if rule != "last" else len(values) - 2)
    assert result.observed is None or result.observed.all()
    assert part in notes[-1] and sum("same time as another" in note or "duplicate" in note for note in notes) == 1


@pytest.mark.usefixtures("chunks")
@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(-9, 9)), min_size=1, max_size=25),
    rule=st.sampled_from(["first", "last", "mean", "sum"]),
)
def test_merged_rows_equal_those_merged_in_python(cells: list[tuple[int, int | None]], rule: str) -> None:
    rows = make_rows([np.nan if value is None else value for _, value in cells], np.array([time for time, _ in cells]))
    result, _ = sort_and_drop(rows, duplicates=rule)
    expected: list[float | None] = []
    for _, group in groupby(sorted(cells, key=lambda cell: cell[0]), key=lambda cell: cell[0]):
        found = [value for _, value in group]
        seen = [value for value in found if value is not None]
        total = sum(seen) if seen else None
        mean = None if total is None else total / len(seen)
        expected.append({"first": found[0], "last": found[-1], "mean": mean, "sum": total}[rule])
    assert result.values[:, 0].tolist() == pytest.approx([value or 0 for value in expected])
    seen_rows = np.ones(len(expected), bool) if result.observed is None else result.observed[:, 0]
    assert seen_rows.tolist() == [value is not None for value in expected]


def test_missing_cells_are_equal_and_an_error_names_both_cells() -> None:
    covariate = np.array([[np.nan], [np.nan], [2]], np.float32)
    both = make_rows([[1, 4], [1, 4], [3, 5]], np.array([1, 1, 2]), past=covariate)
    assert len(sort_and_drop(both)[0].values) == 2
    with pytest.raises(
        InputError,
        match=r"line 3 and line 2 have the same time 1 but .*'c' is 'cell 0 of c' and 'cell 1 of c'\): .*data.id may",
    ):
        sort_and_drop(make_rows([1, 1, 3], np.array([1, 1, 2]), past=covariate[[0, 2, 2]]))
    with pytest.raises(InputError, match=r"\('z' is .*\): only one row per series and time"):
        sort_and_drop(make_rows([[1, 4], [1, np.nan]], np.array([1, 1])))
    with pytest.raises(
        InputError, match=r"line 4 and line 2 .*time 1 of series 'a' .*\('y' is 'cell 0 of y' and 'cell 2 of y'\)"
    ):
        sort_and_drop(make_rows([1, 5, 2], np.array([1, 1, 1]), "aba"))


def test_a_sum_beyond_float32_and_an_unknown_rule_raise() -> None:
    with pytest.raises(InputError, match=r"data.csv, line 2: the sum of the rows of time 1 is beyond 3.4e38"):
        sort_and_drop(make_rows([3e38, 3e38], np.array([1, 1])), duplicates="sum")
    with pytest.raises(InputError, match="data.duplicates=median is unknown; it must be one of refuse, first, last"):
        check_duplicates("median")
