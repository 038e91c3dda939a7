"""Numbers, counts, lists of names, times and durations as text."""

import math
from collections.abc import Sequence

import numpy as np


def format_number(value: float) -> str:
    """``39,756.0`` from a thousand on, four significant digits below; ``-`` for NaN."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else str(value)
    if abs(value) >= 1e12:
        return f"{value:.4g}"
    if abs(value) >= 1e6:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 999.95 else f"{value:.4g}"


def pluralise(count: int, singular: str, plural: str = "") -> str:
    """``1 window`` or ``2,000 windows``; the plural adds an s unless given."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def join_names(names: Sequence[str], limit: int = 8) -> str:
    """Names separated by commas, those beyond ``limit`` as a number: ``a, b and 7 more``."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def format_time(time: np.datetime64 | np.integer) -> str:
    """The date, with hours and minutes unless it is midnight; an integer time as it is."""
    if not isinstance(time, np.datetime64):
        return str(time)
    midnight = time == time.astype("datetime64[D]")
    return str(time.astype("datetime64[D]" if midnight else "datetime64[m]")).replace("T", " ")


def format_duration(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
