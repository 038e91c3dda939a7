"""Public holidays as covariates known ahead: countries and their regions by code, or dates of the user's own."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from difflib import get_close_matches

import numpy as np
import polars as pl

from datamodules.calendar import local_time
from datamodules.series import Column, SeriesSet
from seqmodels.window import InputError

DAY = np.timedelta64(1, "D")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Holidays:
    """0 or 1 by the date in the time zone of the series: ``holiday US`` for a code, ``holiday`` for all given dates.

    ``holidays``: codes such as ``US`` or ``US-CA`` that the package ``holidays`` knows, and dates like 2011-12-24.
    """

    def __init__(self, holidays: str | Sequence[str]):
        given = [holidays] if isinstance(holidays, str) else [str(one) for one in holidays]
        self.dates = [_date(one) for one in given if DATE.fullmatch(one)]
        self.codes = [one for one in given if not DATE.fullmatch(one)]
        for code in self.codes:
            _of_country(code, ())

    def columns(self, series: SeriesSet, horizon: int) -> Iterator[Column]:
        labels = local_time(series, "holidays")
        _refuse_long_steps(series)
        year = labels.dt.year().to_numpy()
        years = range(int(year.min()), int(year.max()) + 2)  # the day off for New Year may lie in the year before
        days = labels.dt.date().cast(pl.Int32).to_numpy()  # since 1970-01-01
        found = {f"holiday {code}": _of_country(code, years) for code in self.codes}
        if self.dates:
            found["holiday"] = self.dates
        for name, dates in found.items():
            yield Column(name, _marked(series, name, days, dates), key="holidays", known=True)


def _marked(series: SeriesSet, name: str, days: np.ndarray, dates: Sequence[date]) -> np.ndarray:
    """1 where the day (rows,) is among the dates, else 0."""
    first, last = int(days.min()), int(days.max())
    free = np.zeros(last - first + 1, np.float32)
    numbers = np.array(dates, dtype="datetime64[D]").astype(np.int64) - first
    free[numbers[(numbers >= 0) & (numbers <= last - first)]] = 1
    values = free[days - first]
    if not values.any():
        raise InputError(f"data.holidays: no row of {series.source} falls on a day of {name!r}; leave it out.")
    return values


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"data.holidays holds {text!r}, which is no date of the calendar.") from None


def _of_country(code: str, years: Iterable[int]) -> list[date]:
    """All holidays of a country or region in these years, with the days on which they are observed."""
    import holidays  # only who asks for holidays waits for their rules

    country, _, region = code.partition("-")
    try:
        return list(holidays.country_holidays(country, subdiv=region or None, years=years))
    except NotImplementedError:
        supported = holidays.list_supported_countries()
        if country in supported:
            kind, known = f"region of {country}", [f"{country}-{name}" for name in supported[country]]
        else:
            kind, known = "country", list(supported)
        near = get_close_matches(code.upper(), known, n=3, cutoff=0.5) or known[:10]
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise InputError(f"data.holidays holds {code!r}, which is no {kind} of the package holidays{hint}.") from None


def _refuse_long_steps(series: SeriesSet) -> None:
    """A step of a week or a month is no day that could be a holiday."""
    assert series.time is not None
    longest = int(series.lengths.argmax())
    steps = np.diff(series.time[series.offsets[longest] : series.offsets[longest + 1]])
    if len(steps) and steps.min() > DAY:
        raise InputError(
            f"data.holidays needs steps of a day or less, but one step of {series.source} is"
            f" {series.frequency or steps.min()}; leave it out."
        )
