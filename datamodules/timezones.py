"""Time zones: knows their names, what the clock on the wall shows at an instant, and when it shows a time."""

from difflib import get_close_matches
from zoneinfo import available_timezones

import numpy as np
import polars as pl

from datamodules.arrays import chunks
from seqmodels.window import InputError


def check_zone(zone: str) -> None:
    """Raise ``InputError`` unless ``zone`` is a name of the IANA time zone database, such as Europe/Berlin."""
    try:
        pl.Series([0]).cast(pl.Datetime("us")).dt.replace_time_zone(zone)
    except pl.exceptions.PolarsError as error:
        near = get_close_matches(zone, sorted(available_timezones()), n=3, cutoff=0.6)
        hint = f" Nearest: {', '.join(near)}." if near else ""
        raise InputError(
            f"data.time_zone={zone} is no time zone; it must be a name such as Europe/Berlin.{hint}"
        ) from error


def show(label: np.generic) -> str:
    """A time label without the parts that are zero: '2011-10-01', '2011-10-01 05:00'."""
    text = str(label).replace("T", " ").removesuffix(".000000")
    return text.removesuffix(" 00:00:00").removesuffix(":00") if " " in text else text


def local(time: np.ndarray, zone: str) -> np.ndarray:
    """What the clock shows in ``zone`` at these UTC times (n,); the times themselves where there is no zone."""
    if zone in ("", "UTC") or time.dtype.kind != "M":
        return time
    wall = np.empty_like(time)
    for part in chunks(len(time)):
        instants = pl.Series(time[part]).dt.replace_time_zone("UTC")
        wall[part] = instants.dt.convert_time_zone(zone).dt.replace_time_zone(None).to_numpy()
    return wall


def instant(wall: np.ndarray, zone: str, which: str = "earliest") -> np.ndarray:
    """UTC of clock times (n,), NaT where the clock jumps over them; ``which`` of two, "earliest" or "latest"."""
    # polars asks for a literal, and ``which`` is one of its values
    labels = pl.Series(wall).dt.replace_time_zone(zone, ambiguous=which, non_existent="null")  # type: ignore[arg-type]
    return labels.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()


def whole_days(time: np.ndarray) -> bool:
    """Whether every label is a date without a clock time."""
    return all((time[part] == time[part].astype("datetime64[D]")).all() for part in chunks(len(time)))
