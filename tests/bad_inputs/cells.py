"""Bad cells of targets, covariates, statics and series ids."""

from bad_inputs import TIMED, Case, Refused, Repaired
from bad_inputs.build import ROWS, daily, frame, panel, parquet, value, with_column

PARQUET = ("data.path=data.parquet", *TIMED)
PAST = (*TIMED, "data.past_covariates=[c]")
STATIC = (*TIMED, "data.id=s", "data.statics=[c]")
PANEL = panel(("a", daily()), ("b", daily()))


def with_cell(cell: str) -> str:
    """The good table with this cell on line 12."""
    return daily({12: f"2020-01-11,{cell}"})


def not_a_number(cell: str) -> Refused:
    return Refused(
        with_cell(f'"{cell}"'), TIMED, rf"data.csv, line 12: '{cell}' in column 'y' is not a number \(decimal p"
    )


def too_large(cell: str) -> Refused:
    return Refused(
        with_cell(cell), TIMED, rf"data.csv, line 12: '{cell}' in column 'y' is not a finite number of at most 3.4"
    )


def missing(cell: str) -> Repaired:
    return Repaired(with_cell(cell), TIMED, r"data.csv: 1 missing value in column 'y' \(first: line 12\)", missing=1)


CASES: dict[str, Case] = {
    "text": not_a_number("abc"),
    "decimal comma": not_a_number("1,5"),
    "thousands separator": not_a_number("1,000"),
    "unit": not_a_number("5 km"),
    "percent": not_a_number("5%"),
    "date as value": not_a_number("2020-01-01"),
    "1e400": too_large("1e400"),
    "infinity": too_large("inf"),
    "minus infinity": too_large("-inf"),
    "beyond float32": too_large("4e38"),
    "infinity in Parquet": Refused(
        {"data.parquet": parquet(frame(z=[1.0] * 39 + [float("inf")]))},
        [*PARQUET, "data.target=z"],
        r"data.parquet, row 40: 'inf' in column 'z' is not a finite number",
    ),
    "blank": missing(""),
    "NA": missing("NA"),
    "NaN": missing("NaN"),
    "null": missing("null"),
    "question mark": missing("?"),
    "blanks around a number": Repaired(with_cell("  5 "), TIMED, ""),
    "leading values missing": Repaired(
        daily({line: f"2020-01-0{line - 1}," for line in (2, 3, 4)}),
        TIMED,
        r"3 missing values .* \(first: line 2\)",
        missing=3,
    ),
    "null in Parquet": Repaired(
        {"data.parquet": parquet(frame(z=[None, *[1.5] * 39]))},
        [*PARQUET, "data.target=z"],
        r"data.parquet: 1 missing value in column 'z' \(first: row 1\)",
        missing=1,
    ),
    "no number at all": Refused(
        with_column("z", lambda row: "NA"),
        [*TIMED, "data.target=z"],
        r"data.csv: target column 'z' holds no number at all",
    ),
    "sentinel value": Repaired(
        with_cell("-999"),
        [*TIMED, "data.missing_values=[-999]"],
        r"1 missing value in column 'y' \(first: line 12; 1 by data.missing_values\)",
        missing=1,
    ),
    "constant": Repaired(with_column("z", lambda row: 5), [*TIMED, "data.target=z"], ""),
    "all zero": Repaired(with_column("z", lambda row: 0), [*TIMED, "data.target=z"], ""),
    "spike": Repaired(with_cell("1e30"), TIMED, ""),
    "winsorised spike": Repaired(
        with_cell("1e30"),
        [*TIMED, "data.winsorise=0.05"],
        r"training values clipped \(data.winsorise=0.05\): 1 of y to 1 ... 7",
    ),
    "smallest of numbers": Repaired(with_cell("1e-45"), TIMED, ""),
    "missing covariate": Repaired(
        with_column("c", lambda row: "" if row == 9 else row), PAST, r"1 missing value in column 'c' \(first: line 11\)"
    ),
    "covariate missing in training": Refused(
        with_column("c", lambda row: "" if row < 39 else 1),
        PAST,
        r"column 'c' has no value in the training part \(data.split\)",
    ),
    "typing error in a covariate": Refused(
        with_column("c", lambda row: "x7" if row == 3 else row),
        PAST,
        r"data.csv, line 5: 'x7' in column 'c' is not a number",
    ),
    "infinite covariate": Refused(
        with_column("c", lambda row: "inf" if row == 3 else row), PAST, r"line 5: 'inf' in column 'c' is not a finite"
    ),
    "missing category": Repaired(
        with_column("c", lambda row: "" if row == 9 else "ab"[row % 2]), PAST, r"1 missing value in column 'c'"
    ),
    "category of the test only": Repaired(
        with_column("c", lambda row: "z" if row > 36 else "ab"[row % 2]),
        PAST,
        r"column 'c': .*'?z'?.* not in the training part: unknown in 3 rows",
    ),
    "missing series id": Refused(
        PANEL.replace("2020-01-07,7,b", "2020-01-07,7,"),
        [*TIMED, "data.id=s"],
        r"data.csv, line 48: id column 's' has no value here",
    ),
    "series called NA": Repaired(PANEL.replace(",b\n", ",NA\n"), [*TIMED, "data.id=s"], "", rows=80),
    "static that changes": Refused(
        with_column("c", lambda row: 2 if row == 50 else 1, PANEL),
        STATIC,
        r"data.csv, line 52: '2' in column 'c', but '1' in line 42 of series 'b': a column of data.statics must not",
    ),
    "static of one series missing": Repaired(
        with_column("c", lambda row: "" if row < ROWS else 3, PANEL),
        STATIC,
        r"column 'c' has no value for 1 series \(first: 'a'\)",
        rows=80,
    ),
    "whole number beyond 64 bits": too_large("1" + "0" * 39),
    "value of a text column": Refused(
        with_column("c", lambda row: "abc"),
        [*TIMED, "data.target=c"],
        r"data.csv, line 2: 'abc' in column 'c' is not a number",
    ),
    "boolean target": Repaired(
        {"data.parquet": parquet(frame(z=[value(row) > 3 for row in range(ROWS)]))}, [*PARQUET, "data.target=z"], ""
    ),
}
