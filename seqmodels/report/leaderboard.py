"""A comparison as a table for the terminal, as CSV files and as an HTML page without scripts."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from seqmodels.inference.scores import BANDS
from seqmodels.report.comparison import RATIOS, Comparison, Interval
from seqmodels.report.output import format_number, pluralise, shorten, to_text, write_csv, write_file

TEMPLATE, STYLE = Path(__file__).with_name("leaderboard.html"), Path(__file__).with_name("page.css")
TABLE_WIDTH = 120  # columns if the output is no terminal
LONGEST_NAME = 20  # characters in the terminal
INTERVALS = ("skill", "win_rate")  # beside those of the error and the weighted quantile loss
HEADINGS = {
    "mase": "MASE", "mae": "MAE", "rmsse": "RMSSE", "wape": "WAPE", "smape": "sMAPE", "wql": "WQL", "crps": "CRPS",
    "bias": "bias", "skill": "skill", "win_rate": "wins", "against_best": "vs best", "fit_seconds": "fit s",
    "forecast_us": "\u00b5s", **{f"coverage_{band}": f"{band} %" for band in BANDS},
    **{f"width_{band}": f"width {band}" for band in BANDS},
}  # fmt: skip
ERRORS = (
    "rmsse",
    "wape",
    "smape",
    "wql",
    "bias",
    *(f"coverage_{band}" for band in BANDS),
    "width_80",
)  # in the terminal
MORE = ("crps", "width_50", "width_95")  # on the page only


class Failure(NamedTuple):
    """Runs of a model that gave no figures, and why."""

    model: str
    reason: str


class Board(NamedTuple):
    """A comparison with everything needed to repeat each row.

    ``origins`` has, by the name of a contestant, the columns of the CSV file that say where its runs come from, and
    ``runs`` one record for each run, failed ones too.
    """

    comparison: Comparison
    origins: Mapping[str, Mapping[str, Any]]
    failures: Sequence[Failure]
    runs: Sequence[Mapping[str, Any]]
    title: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """One row for each contestant, in order of the error, then those that failed."""
        one = self.comparison
        intervals = {name: one.interval(name) for name in dict.fromkeys((one.name, "wql", *INTERVALS))}
        measures = {name: one.measures(name) for name in RATIOS}
        wins = one.wins.mean(axis=1)
        found = []
        for place, contestant in enumerate(one.contestants):
            singles = one.singles(contestant)
            record: dict[str, Any] = {"rank": place + 1, "model": contestant.name}
            record |= {name: float(values[place]) for name, values in measures.items()}
            record |= {"skill": float(one.skill[place]), "win_rate": float(wins[place])}
            for name, pairs in intervals.items():
                record |= {f"{name}_low": pairs[place].low, f"{name}_high": pairs[place].high}
            record |= {"against_best": one.against_best(place), "p_best": float(one.chances[0, place])}
            record |= {"runs": len(singles), f"{one.name}_smallest": min(singles), f"{one.name}_largest": max(singles)}
            record |= {"fit_seconds": contestant.fit_seconds, "forecast_us": 1e6 * contestant.forecast_seconds}
            found.append({**record, **self.origins.get(contestant.name, {})})
        return found + [{"rank": None, "model": one.model, "error": one.reason} for one in self.failures]

    @property
    def caption(self) -> str:
        """Meaning of the figures."""
        one = self.comparison
        place, kind = one.units
        units = int(place.max()) + 1
        baseline = one.contestants[one.baseline].name
        intervals = f"interval: 95 % of {len(one.draws):,} bootstrap samples of {units:,} {kind}"
        if math.isnan(one.interval(one.name)[0].low):
            intervals = f"No intervals: {units:,} {kind} are too few"
        return (
            f"{pluralise(len(place), 'test window')}, the same for each row; means over the runs (seeds). MASE, RMSSE"
            " and the width of the 80 % band in seasonal errors of all rows before the test part; WAPE, sMAPE, bias,"
            f" skill and wins in %. {intervals}. skill: 1 - geometric mean of the error over that of {baseline}, by"
            " unit; wins: share of the others with a larger error. vs best: p-value of the difference (Diebold and"
            " Mariano, as corrected by Harvey, Leybourne and Newbold), a tie above 0.05. 50 %, 80 %, 95 %: share"
            " of the truth in these bands, calibrated on the validation windows. fit s: seconds of training; \u00b5s:"
            " those of the forecast of one window, in millionths."
        )

    @property
    def table(self) -> pl.DataFrame:
        """The records as a data frame."""
        return pl.DataFrame(self.records, infer_schema_length=None, strict=False)

    def __repr__(self) -> str:
        return to_text(self)

    def __rich__(self) -> RenderableType:
        name = self.comparison.name
        ranked, errors = _new_table(f"{self.title}"), _new_table("Other measures")
        for heading in (HEADINGS[name], "interval", *map(HEADINGS.__getitem__, (*INTERVALS, "against_best"))):
            ranked.add_column(heading, justify="right", no_wrap=True)
        for column in ("fit_seconds", "forecast_us"):
            ranked.add_column(HEADINGS[column], justify="right", no_wrap=True)
        for column in ERRORS:
            errors.add_column(HEADINGS[column].replace("width 80", "width"), justify="right", no_wrap=True)
        for record in self.records:
            if "error" in record:
                ranked.add_row(Text(shorten(record["model"], LONGEST_NAME)), "failed")
                continue
            runs = f" {record['runs']}/{record['runs'] + record['failed']}" if record.get("failed") else ""
            label = Text(shorten(record["model"], LONGEST_NAME) + runs)
            interval = format_interval(Interval(record[f"{name}_low"], record[f"{name}_high"]))
            figures = [format_number(record[name]), interval, *(format_cell(one, record[one]) for one in INTERVALS)]
            seconds = [format_cell(one, record[one]) for one in ("fit_seconds", "forecast_us")]
            ranked.add_row(label, *figures, record["against_best"], *seconds)
            errors.add_row(label, *(format_cell(one, record[one]) for one in ERRORS))
        doubts = [Text(f"{code}: {text}", style="yellow") for code, text in self.comparison.objections]
        failed = [Text(f"failed: {one.model}: {one.reason}", style="red") for one in self.failures]
        return Group(ranked, Text(), errors, Text(self.caption, style="dim"), *doubts, *failed)


def _new_table(title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 0, 0, 2), pad_edge=False)
    table.add_column("", overflow="fold", min_width=12)  # the only column that wraps on a narrow terminal
    return table


def format_interval(interval: Interval) -> str:
    """ "0.812...0.874", or "-"."""
    return "-" if math.isnan(interval.low) else f"{interval.low:.3g}...{interval.high:.3g}"


def format_cell(column: str, value: float) -> str:
    """A figure of the table: per cent with one decimal, others with four digits."""
    if math.isnan(value):
        return "-"
    if column.startswith(("coverage", "wape", "smape", "bias", "skill", "win_rate")):
        return f"{value:.1f}"
    if column == "forecast_us":
        return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
    return f"{value:,.1f}" if column == "fit_seconds" else format_number(value)


def write_board(board: Board, directory: Path) -> list[Path]:
    """Write leaderboard.csv, pairs.csv, runs.csv and leaderboard.html; the paths."""
    records, one = board.records, board.comparison
    names = [contestant.name for contestant in one.contestants]
    pairs = [["p-value", *names], *([name, *row] for name, row in zip(names, one.chances.tolist(), strict=True))]
    tables = {"leaderboard.csv": _rows(records), "pairs.csv": pairs, "runs.csv": _rows(board.runs)}
    for name, rows in tables.items():
        write_csv(directory / name, (["" if cell is None or cell != cell else cell for cell in row] for row in rows))
    write_file(directory / "leaderboard.html", page(board).encode())
    return [directory / name for name in (*tables, "leaderboard.html")]


def _rows(records: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    columns = list(dict.fromkeys(column for record in records for column in record))
    return [columns, *([record.get(column, "") for column in columns] for record in records)]


def page(board: Board) -> str:
    """The HTML page, which needs no other file and no script."""
    from jinja2 import Environment

    one, name = board.comparison, board.comparison.name
    shown = (*INTERVALS, "against_best", *ERRORS, *MORE, "fit_seconds", "forecast_us")
    header = ["", HEADINGS[name], "interval", "runs", *(HEADINGS[column] for column in shown)]
    body = []
    for record in board.records:
        if "error" not in record:
            interval = format_interval(Interval(record[f"{name}_low"], record[f"{name}_high"]))
            cells = [
                record[column] if column == "against_best" else format_cell(column, record[column]) for column in shown
            ]
            body.append([record["model"], format_number(record[name]), interval, record["runs"], *cells])
    names = [contestant.name for contestant in one.contestants]
    pairs = [
        [row, *("" if place == other else one.verdict(place, other) for other in range(len(names)))]
        for place, row in enumerate(names)
    ]
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        style=STYLE.read_text(encoding="utf-8"),
        title=board.title,
        tables=[("Leaderboard", header, body), ("Pairs: better, worse or tie, with the p-value", ["", *names], pairs)],
        caption=board.caption,
        objections=one.objections,
        failures=board.failures,
        runs=board.runs,
    )
