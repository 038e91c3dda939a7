"""Good tables, and tables in which one line, time or value is replaced."""

import io
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import polars as pl

ROWS = 40


def value(row: int) -> int:
    return row % 7 + 1


def daily(changed: Mapping[int, str] | None = None, rows: int = ROWS, first: str = "2020-01-01") -> str:
    """One row per day in the columns t and y; ``changed`` replaces lines by their number, ``""`` removes them."""
    return with_times((datetime.fromisoformat(first) + timedelta(days=row) for row in range(rows)), "%Y-%m-%d", changed)


def hourly(changed: Mapping[int, str] | None = None, first: str = "2020-01-01") -> str:
    """Like ``daily`` with one row per hour."""
    hours = (datetime.fromisoformat(first) + timedelta(hours=row) for row in range(ROWS))
    return with_times(hours, "%Y-%m-%d %H:%M", changed)


def with_times(times: Iterable[datetime], form: str, changed: Mapping[int, str] | None = None) -> str:
    return lines([f"{time.strftime(form)},{value(row)}" for row, time in enumerate(times)], changed)


def numbered(time: Callable[[int], object], changed: Mapping[int, str] | None = None) -> str:
    """Rows whose time is a function of their number."""
    return lines([f"{time(row)},{value(row)}" for row in range(ROWS)], changed)


def lines(rows: Iterable[str], changed: Mapping[int, str] | None = None, header: str = "t,y") -> str:
    texts = [header, *rows]
    for number, text in (changed or {}).items():
        texts[number - 1] = text
    return "".join(f"{text}\n" for text in texts if text)


def with_column(name: str, cell: Callable[[int], object], table: str | None = None) -> str:
    """Add a column whose cells are a function of the row number."""
    header, *rows = (daily() if table is None else table).splitlines()
    return lines([f"{row},{cell(index)}" for index, row in enumerate(rows)], header=f"{header},{name}")


def panel(*parts: tuple[str, str]) -> str:
    """Concatenate tables of ``daily`` or ``hourly``, given as (series, table), with a column s."""
    named = [f"{row},{name}" for name, table in parts for row in table.splitlines()[1:]]
    return lines(named, header="t,y,s")


def parquet(frame: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.write_parquet(stream)
    return stream.getvalue()


def frame(**columns: Iterable[object] | pl.Series) -> pl.DataFrame:
    """40 days with values, and further columns."""
    days = [datetime(2020, 1, 1) + timedelta(days=row) for row in range(ROWS)]
    return pl.DataFrame({"t": days, "y": [float(value(row)) for row in range(ROWS)], **columns})
