"""Numbers written as text: decimal commas, thousands separators, currencies, per cent, units and signs."""

import re
from typing import NamedTuple

import polars as pl

SIGNS = {mark: "-" for mark in "\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"} | {"\uff0b": "+"}
BLANKS = {mark: " " for mark in "\u00a0\u2007\u2009\u202f"} | {mark: "'" for mark in "\u2019\u02bc\u00b4`"}
CODES = "EUR|USD|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|ZAR|TRY|MXN|KRW|SGD|HKD"
CURRENCY = rf"[A-Z]{{0,3}}\p{{Sc}}|(?:{CODES})\b"
UNIT = r"(?:\p{L}|\p{Sc}|[%‰°])[^\s()]*(?: [^\s()\d]+)?"  # of one or two words
NUMERAL = (
    rf"^(\()?(?P<sign>[+-])? ?(?P<before>{CURRENCY}|%)? ?(?P<inner>[+-])?(\()?(?P<body>\d[\d., ']*\d|\d[.,]?|[.,]\d+)"
    rf"(?P<exponent>[eE][+-]?\d+)? ?(?P<after>{UNIT})?(?P<trailing>-)?(?P<close>\))?$"
)
SCALES = {"K": 1e3, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}  # where a column has several of them
POINT, COMMA = ".", ","
MONEY = rf"[A-Z]{{0,3}}[$£€¥₹₩₽₺₫₴₪¢]|{CODES}"


def _valid(decimal: str) -> str:
    """Pattern of the digits of a number with this decimal mark, grouped by the other mark, a blank or an apostrophe."""
    other = re.escape(COMMA if decimal == POINT else POINT)
    groups = (
        rf"[1-9]\d{{0,2}}(?:{other}\d{{2,3}})*{other}\d{{3}}|[1-9]\d{{0,2}}(?: \d{{3}})+|[1-9]\d{{0,2}}(?:'\d{{3}})+"
    )
    return rf"^(?:\d+|{groups})?(?:{re.escape(decimal)}\d*)?$"


class NumberFormat(NamedTuple):
    """The way in which the numbers of a column are written.

    ``affixes`` are the currencies, units and per cent signs that a number may have; ``style`` describes the rest for a
    note, "" for numbers as a program writes them.
    """

    decimal: str = POINT
    affixes: tuple[str, ...] = ("",)
    style: str = ""
    example: str = ""  # a text of the column that is not a plain number

    def parse(self, text: pl.Series) -> pl.Series:
        """Numbers, null for texts that are no numbers of this format."""
        if not self.style:
            return text.cast(pl.Float64, strict=False)
        parts = split(text)
        fits = parts[self.decimal] & parts["affix"].is_in(self.affixes)
        body = parts["body"].str.replace_all(f"[{COMMA if self.decimal == POINT else POINT} ']", "")
        digits = body.str.replace(self.decimal, POINT, literal=True) + parts["exponent"].fill_null("")
        numbers = digits.cast(pl.Float64, strict=False) * pl.select(1 - 2 * parts["negative"].cast(pl.Int8)).to_series()
        if len(set(self.affixes) & SCALES.keys()) > 1:
            numbers *= parts["affix"].replace_strict(SCALES, default=1.0, return_dtype=pl.Float64)
        return numbers.set(~fits.fill_null(False), None)


class Ambiguous(NamedTuple):
    """A column in which each mark may group digits or be the decimal mark, such as in this text of it."""

    example: str


def split(text: pl.Series) -> pl.DataFrame:
    """The parts of each text: affix, body, exponent and if it is negative, all null for other texts than numbers.

    The columns '.' and ',' are True for bodies that are valid with that decimal mark.
    """
    marks = SIGNS | BLANKS
    cells = text.str.replace_many(list(marks), list(marks.values())).str.strip_chars()
    parts = cells.to_frame("cell").select(pl.col("cell").str.extract_groups(NUMERAL)).unnest("cell")
    opened = pl.coalesce("1", "5").is_not_null()
    signs = pl.concat_str([pl.col(name).fill_null("") for name in ("sign", "inner", "trailing")])
    whole = (opened == pl.col("close").is_not_null()) & (signs.str.len_chars() + opened <= 1)
    body = pl.when(whole).then("body")
    return parts.select(
        body.alias("body"),
        pl.col("exponent"),
        pl.concat_str([pl.col("before").fill_null(""), pl.col("after").fill_null("")]).alias("affix"),
        (opened | (signs == "-")).alias("negative"),
        *(body.str.contains(_valid(mark)).alias(mark) for mark in (POINT, COMMA)),
    )


def find_format(values: pl.Series, others: set[str], decimal: str | None = None) -> NumberFormat | Ambiguous:
    """Find how most of the distinct ``values`` of a column are written.

    A decimal mark is certain where a value has no meaning with the other one. Without such a value, ``decimal`` tells,
    else the column itself (1,507 beside 987 are thousands) and the marks that are certain in ``others``, the other
    columns, unless these contradict.
    """
    if values.cast(pl.Float64, strict=False).null_count() == 0 and decimal != COMMA and COMMA not in others:
        return NumberFormat()
    parts = split(values).with_columns(text=values).filter(pl.col(POINT) | pl.col(COMMA))
    affixes = _common_affixes(parts["affix"])
    parts = parts.filter(pl.col("affix").is_in(affixes))
    mark = _decimal_mark(parts, others, decimal)
    if not mark:
        return Ambiguous(parts.filter(pl.col("body").str.contains("[.,]"))["text"][0])
    parts = parts.filter(pl.col(mark))
    pointed = pl.col("body").str.contains(POINT, literal=True) & (mark == COMMA)
    written = parts.filter(pl.col("text").cast(pl.Float64, strict=False).is_null() | pointed)
    if written.is_empty():
        return NumberFormat()
    return NumberFormat(mark, affixes, _describe(written, mark, affixes), written["text"][0])


def is_numeric(values: pl.Series, written: NumberFormat | Ambiguous) -> bool:
    """True if most of the distinct texts of a column are numbers, so that the others must be mistakes.

    Nine in ten where the numbers have a unit: 4th, 5th and 6th beside 1st are categories.
    """
    if isinstance(written, Ambiguous):
        return 2 * (len(values) - split(values)["body"].null_count()) > len(values)
    numbers = len(values) - written.parse(values).null_count()
    has_unit = any(not re.fullmatch(f"%|{MONEY}", one) for one in written.affixes if one)
    return 10 * numbers > 9 * len(values) if has_unit else 2 * numbers > len(values)


def certain_marks(values: pl.Series) -> set[str]:
    """Decimal marks without which some of these texts would not be numbers; none if a text is no number at all."""
    parts = split(values)
    if parts["body"].null_count():
        return set()
    return {
        mark
        for mark, other in ((POINT, COMMA), (COMMA, POINT))
        if (parts[mark] & ~parts[other]).any() and parts[mark].all()
    }


def _common_affixes(affixes: pl.Series) -> tuple[str, ...]:
    """The most frequent affix, with others that do not change the meaning: no currency sign, or K beside M."""
    if affixes.is_empty():
        return ("",)
    found = affixes.value_counts(sort=True).to_series().to_list()
    scales = [one for one in found if one in SCALES]
    if len(scales) > 1 and len(scales) >= len(found) - ("" in found):
        return tuple(found)
    named = [one for one in found if one]
    if "" in found and len(named) == 1 and re.fullmatch(MONEY, named[0]):
        return ("", named[0])
    is_unit = found[0] and not re.fullmatch(f"%|{MONEY}", found[0])
    return ("",) if is_unit and len(affixes) == 1 else (found[0],)


def _decimal_mark(parts: pl.DataFrame, others: set[str], decimal: str | None) -> str:
    """The decimal mark of the numbers, "" if nothing tells."""
    certain = {mark: (parts[mark] & ~parts[other]).sum() for mark, other in ((POINT, COMMA), (COMMA, POINT))}
    if any(certain.values()):
        return max(certain, key=lambda mark: certain[mark])
    separated = parts["body"].str.contains("[.,]")
    if not separated.any():
        return POINT
    if decimal:
        return decimal
    used = set(parts["body"].str.extract("([.,])", 1).drop_nulls())
    lengths = parts["body"].filter(~separated).str.len_chars()
    thousands = len(used) == 1 and len(lengths) > 0 and (lengths <= 3).all()  # shorter numbers need no separator
    told = others | ({COMMA if used == {POINT} else POINT} if thousands else set())
    return told.pop() if len(told) == 1 else ""


def _describe(written: pl.DataFrame, decimal: str, affixes: tuple[str, ...]) -> str:
    """Marks of numbers written for people: separators of thousands, decimal commas, units."""
    body = written["body"]
    groups = {",": "commas", ".": "points", " ": "blanks", "'": "apostrophes"}
    found = [f"{name} between thousands" for mark, name in groups.items()
             if mark != decimal and body.str.contains(mark, literal=True).any()]  # fmt: skip
    if decimal == COMMA and body.str.contains(COMMA, literal=True).any():
        found.insert(0, "decimal commas")
    named = [repr(one) for one in affixes if one]
    found += [f"the unit {', '.join(named)}"] if named else []
    return " and ".join(found) or "signs"
