"""Numbers written as text are read as the numbers that were meant, or not at all."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.tables.numerals import Ambiguous, NumberFormat, certain_marks, find_format, is_numeric

READ: dict[str, tuple[list[str], list[float | None]]] = {
    "decimal commas": (["11,03", "9,98", "-7,3"], [11.03, 9.98, -7.3]),
    "decimal commas of three digits": (["0,507", "9,981"], [0.507, 9.981]),
    "comma without a digit before or after it": ([",5", "1,5", "5,"], [0.5, 1.5, 5]),
    "short numbers beside thousands": (["1,513", "987", "-12,345"], [1513, 987, -12345]),
    "millions": (["1,513,000", "2,186"], [1513000, 2186]),
    "points between thousands": (["1.513.000", "2.186"], [1513000, 2186]),
    "both marks": (["1.234,5", "2.186"], [1234.5, 2186]),
    "both marks, the other way": (["1,234.5", "2,186"], [1234.5, 2186]),
    "lakh": (["1,23,456", "1,00,000"], [123456, 100000]),
    "blanks": (["1 234,5", "5,25", "12 345 678"], [1234.5, 5.25, 12345678]),
    "no-break spaces": (["1\u202f234", "1\u00a0000", "1\u2009000,5"], [1234, 1000, 1000.5]),
    "apostrophes": (["1'234.5", "1’000", "0.5"], [1234.5, 1000, 0.5]),
    "exponents": (["1,5E+03", "2,0e-2"], [1500, 0.02]),
    "minus signs": (["\u22125", "\u20137.5", "+3", "-1", "4.5-"], [-5, -7.5, 3, -1, -4.5]),
    "parentheses": (["(1,234.50)", "($5.00)", "7.1"], [-1234.5, -5, 7.1]),
    "too many signs": (["--5", "(-5)", "(5", "5)", "1.5", "\u22122"], [None, None, None, None, 1.5, -2]),
    "per cent": (["61.0%", "5.5 %", "-%3"], [61, 5.5, -3]),
    "per cent in one cell": (["61.0%", "5", "7"], [None, 5, 7]),
    "dollars": (["$4.10", "-$1,000.00", "$-3", "4"], [4.1, -1000, -3, 4]),
    "currencies": (["€ 5,20", "5,20 €", "£1,5"], [5.2, 5.2, None]),
    "currency codes": (["EUR 5", "EUR 6", "USD 6"], [5, 6, None]),
    "dollars of a country": (["R$ 1.234,50", "R$ 5"], [1234.5, 5]),
    "unit": (["12.3 kWh", "1.0 kWh", "5 MWh"], [12.3, 1, None]),
    "unit of two words": (["12,5 m³ gas", "1 m³ gas"], [12.5, 1]),
    "one letter of millions": (["1.2M", "3M"], [1.2, 3]),
    "letters of millions and thousands": (["1.2M", "987.5K", "1B", "5"], [1.2e6, 987.5e3, 1e9, 5]),
    "groups of another length": (["1,5", "1,23,4", "1 23"], [1.5, None, None]),
    "no numbers": (["a", "2020-01-01", "12:30", "1/2", "1-2", "v1.2.3", "SKU 5"], [None] * 7),
}


@pytest.mark.parametrize("name", READ)
def test_texts_are_read_as_these_numbers(name: str) -> None:
    texts, numbers = READ[name]
    written = find_format(pl.Series(texts), set())
    assert isinstance(written, NumberFormat)
    assert written.parse(pl.Series(texts)).to_list() == pytest.approx(numbers)


TOLD: dict[str, tuple[list[str], set[str], str | None, list[float] | None]] = {
    "thousands or decimals": (["1,513", "2,186"], set(), None, None),
    "by other columns with points": (["1,513", "2,186"], {"."}, None, [1513, 2186]),
    "by other columns with commas": (["1,513", "2,186"], {","}, None, [1.513, 2.186]),
    "other columns disagree": (["1,513", "2,186"], {".", ","}, None, None),
    "by the setting, against other columns": (["1,513", "2,186"], {"."}, ",", [1.513, 2.186]),
    "the column disagrees with the others": (["1,513", "987"], {","}, None, None),
    "the column agrees with the others": (["1,513", "987"], {"."}, None, [1513, 987]),
    "not by the setting, if the column is certain": (["1,51", "2,186"], set(), ".", [1.51, 2.186]),
    "long numbers beside separated ones": (["1513", "2,186"], set(), None, None),
    "both marks in turn": (["1,513", "2.186"], set(), None, None),
    "points of a program": (["1.513", "2.186"], set(), None, [1.513, 2.186]),
    "points beside columns with commas": (["1.513", "2.186"], {","}, None, [1513, 2186]),
    "points beside columns of both": (["1.513", "2.186"], {",", "."}, None, None),
    "points that must be decimal": (["1.51", "2.186"], {","}, None, [1.51, 2.186]),
    "points with decimal=,": (["1.513", "987"], set(), ",", [1513, 987]),
}


@pytest.mark.parametrize("name", TOLD)
def test_ambiguous_marks_are_told_by_other_columns_or_the_setting(name: str) -> None:
    texts, others, decimal, numbers = TOLD[name]
    written = find_format(pl.Series(texts), others, decimal)
    if numbers is None:
        assert written == Ambiguous(texts[0] if "," in texts[0] or "." in texts[0] else texts[1])
    else:
        assert isinstance(written, NumberFormat) and written.parse(pl.Series(texts)).to_list() == pytest.approx(numbers)


@pytest.mark.parametrize(
    ("decimal", "group"), [(".", ","), (",", "."), (",", " "), (".", "'"), (",", "\u202f"), (",", "")]
)
@given(
    numbers=st.lists(st.decimals(-(10**7), 10**7, places=2), min_size=1),
    before=st.sampled_from(["", "$", "€ ", "US$"]),
    after=st.sampled_from(["", " %", " kWh"]),
)
def test_what_is_written_is_read_again(decimal: str, group: str, numbers: list[Any], before: str, after: str) -> None:
    marks = str.maketrans({",": group, ".": decimal})
    texts = pl.Series([f"{before}{number:,.2f}".translate(marks) + ("" if before else after) for number in numbers])
    written = find_format(texts.unique(), set())
    if after == " kWh" and not before and len(set(texts)) == 1:
        return  # a unit needs two numbers
    assert isinstance(written, NumberFormat) and is_numeric(texts.unique(), written)
    assert written.parse(texts).to_list() == pytest.approx([float(number) for number in numbers])


@pytest.mark.parametrize(
    ("texts", "marks"),
    [
        (["1,5", "2"], {","}),
        (["1.5"], {"."}),
        (["1,513"], set()),
        (["1,5", "a"], set()),
        (["1,5", "1.5"], set()),
        ([], set()),
    ],
)
def test_certain_marks(texts: list[str], marks: set[str]) -> None:
    assert certain_marks(pl.Series(texts, dtype=pl.String)) == marks


@pytest.mark.parametrize(
    ("texts", "numeric"),
    [
        (["1", "2", "x"], True),
        (["1", "x"], False),
        (["1st", "2nd", "3rd", "4th", "5th", "6th", "7th"], False),
        (["10 kg", "20 kg"], True),
        (["10 kg", "500 g"], False),
        (["$1", "$2", "x"], True),
        (["1,507", "2,186", "3,186"], True),
    ],
)
def test_a_column_of_numbers_is_told_from_categories(texts: list[str], numeric: bool) -> None:
    values = pl.Series(texts)
    assert is_numeric(values, find_format(values, set())) == numeric
