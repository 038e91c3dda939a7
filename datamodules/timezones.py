"""Time zones: check names, and convert between UTC and local time."""

from difflib import get_close_matches
from typing import Literal
from zoneinfo import available_timezones

import numpy as np
import polars as pl

from datamodules.arrays import chunks
from seqmodels.errors import InputError


def check_zone(zone: str) -> None:
    """Raise ``InputError`` unless ``zone`` is a name of the IANA time zone database, such as Europe/Berlin."""
    try:
        pl.Series([0]).cast(pl.Datetime("us")).dt.replace_time_zone(zone)
    except pl.exceptions.PolarsError as error:
        near = get_close_matches(zone, sorted(available_timezones()), n=3, cutoff=0.6)
        hint = f" Nearest: {', '.join(near)}." if near else ""
        raise InputError(
            f"data.time_zone={zone} is not a time zone; it must be a name such as Europe/Berlin.{hint}"
        ) from error


def format_time(time: np.generic) -> str:
    """A timestamp without the parts that are zero: '2011-10-01', '2011-10-01 05:00'."""
    text = str(time).replace("T", " ").removesuffix(".000000")
    return text.removesuffix(" 00:00:00").removesuffix(":00") if " " in text else text


def utc_to_local(time: np.ndarray, zone: str) -> np.ndarray:
    """Convert UTC (n,) to the local time of ``zone``; returns ``time`` itself if there is no zone or no datetime."""
    if zone in ("", "UTC") or time.dtype.kind != "M":
        return time
    local = np.empty_like(time)
    for part in chunks(len(time)):
        instants = pl.Series(time[part]).dt.replace_time_zone("UTC")
        local[part] = instants.dt.convert_time_zone(zone).dt.replace_time_zone(None).to_numpy()
    return local


def local_to_utc(local: np.ndarray, zone: str, ambiguous: Literal["earliest", "latest"] = "earliest") -> np.ndarray:
    """Convert local times (n,) to UTC; NaT for times that clocks skip, ``ambiguous`` for times that they show twice."""
    labels = pl.Series(local).dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")
    return labels.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()


def are_dates(time: np.ndarray) -> bool:
    """True if no timestamp has a time of day."""
    return all((time[part] == time[part].astype("datetime64[D]")).all() for part in chunks(len(time)))
