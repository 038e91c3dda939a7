"""How numbers, counts, names and times are written for people."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def format_number(value: float) -> str:
    """For people: 39,756.0 from a thousand on, below that four significant digits."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else str(value)
    if abs(value) >= 1e12:
        return f"{value:.4g}"
    if abs(value) >= 1e6:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 999.95 else f"{value:.4g}"


def pluralise(count: int, one: str, many: str = "") -> str:
    """``1 window`` or ``2,000 windows``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def join_names(names: Sequence[str], most: int = 8) -> str:
    """Names separated by commas, the end of a long list as a number."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def format_time(time: Any) -> str:
    """A time label for people: the date, with hours and minutes unless it is midnight; or the integer."""
    if not isinstance(time, np.datetime64):
        return str(time)
    midnight = time == time.astype("datetime64[D]")
    return str(time.astype("datetime64[D]" if midnight else "datetime64[m]")).replace("T", " ")
