"""Bad cells of targets, covariates, statics and series ids."""

from collections.abc import Callable

from bad_inputs import GOOD, TIMED, Case, Refused, Repaired
from bad_inputs.build import ROWS, daily, frame, lines, panel, parquet, value, with_column

PARQUET = ("data.path=data.parquet", *TIMED)
PAST = (*TIMED, "data.past_covariates=[c]")
STATIC = (*TIMED, "data.id=s", "data.statics=[c]")
PANEL = panel(("a", daily()), ("b", daily()))

# A file of decimal commas, whose column c has points between thousands
EUROPEAN = lines([f"{row};{value(row)};{row + 1}.{500 + row};{row},25" for row in range(ROWS)], header="t;y;c;d")


def with_cell(cell: str) -> str:
    """The good table with this cell on line 12."""
    return daily({12: f"2020-01-11,{cell}"})


def not_a_number(cell: str, like: str = " like '1' in line 2") -> Refused:
    return Refused(
        with_cell(f'"{cell}"'),
        TIMED,
        rf"data.csv, line 12: '{cell}' in column 'y' is not a number{like}; all must have",
    )


def written(cell: Callable[[int], str], style: str, *overrides: str, role: str = "past_covariates") -> Repaired:
    """A column of numbers written in this way, as a covariate."""
    column = with_column("c", lambda row: f'"{cell(row)}"')
    return Repaired(
        column, [*TIMED, f"data.{role}=[c]", *overrides], rf"data.csv: numbers with {style} read in column 'c'"
    )


def too_large(cell: str) -> Refused:
    return Refused(
        with_cell(cell), TIMED, rf"data.csv, line 12: '{cell}' in column 'y' is not a finite number of at most 3.4"
    )


def missing(cell: str) -> Repaired:
    return Repaired(with_cell(cell), TIMED, r"data.csv: 1 missing value in column 'y' \(first: line 12\)", missing=1)


def large(value: Callable[[int], object]) -> Repaired:
    """Values that float32 would round."""
    rows = "".join(f"2020-01-{day:02d},{value(day)}\n" for day in range(1, 32))
    pattern = r"data.csv: values of 'y' around .* change by about .* kept in float64"
    return Repaired(f"t,y\n{rows}", TIMED, pattern, rows=31)


CASES: dict[str, Case] = {
    "text": not_a_number("abc"),
    "one decimal comma": Repaired(
        with_cell('"1,5"'), TIMED, r"numbers with decimal commas read in column 'y' \('1,5' = 1.5"
    ),
    "one thousands separator": Repaired(
        with_cell('"1,000"'), TIMED, r"numbers with commas between thousands read in column 'y' \('1,000' = 1000\)"
    ),
    "unit of one cell": not_a_number("5 km"),
    "per cent in one cell": not_a_number("5%"),
    "currency in one cell": Repaired(
        with_cell("€5"), TIMED, r"numbers with the unit '€' read in column 'y' \('€5' = 5\)"
    ),
    "point beside decimal commas": Refused(
        with_column("c", lambda row: "1.25" if row == 5 else f'"{row},5"'),
        PAST,
        r"line 7: '1.25' in column 'c' is not a number like '0,5' in line 2; all must have the same unit",
    ),
    "two units": Refused(
        with_column("c", lambda row: "3 MWh" if row == 30 else f"{row} kWh"),
        [*TIMED, "data.target=c"],
        r"data.csv, line 32: '3 MWh' in column 'c' is not a number like '0 kWh' in line 2",
    ),
    "two currencies": Refused(
        with_column("c", lambda row: "€3" if row == 30 else f"${row}"), PAST, r"line 32: '€3' .* like '\$0' in line 2"
    ),
    "decimals or thousands": Refused(
        with_column("c", lambda row: f'"{row + 1},{500 + row}"'),
        PAST,
        r"data.csv, line 2: '1,500' in column 'c' may be 1500 or 1.5, and neither .* set data.decimal=. for the first",
    ),
    "decimals or thousands of a target": Refused(
        with_column("c", lambda row: f'"{row + 1},{500 + row}"'), [*TIMED, "data.target=c"], r"may be 1500 or 1.5, and"
    ),
    "thousands against decimal commas": Refused(
        with_column(
            "d", lambda row: f'"{row},5"', with_column("c", lambda row: f'"{row + 1},500"' if row % 2 else row)
        ),
        [*TIMED, "data.past_covariates=[c,d]"],
        r"data.csv, line 3: '2,500' in column 'c' may be 2500 or 2.5",
    ),
    "thousands, as told": written(lambda row: f"{row + 1},{500 + row}", r"commas between thousands", "data.decimal=."),
    "decimals, as told": written(lambda row: f"{row + 1},{500 + row}", "decimal commas", "data.decimal=','"),
    "unknown decimal mark": Refused(GOOD, [*TIMED, "data.decimal=comma"], r"data.decimal=comma is unknown; it must be"),
    "decimal commas": written(lambda row: f"{row},5", "decimal commas"),
    "decimal commas and points": written(lambda row: f"1.{row + 100},5", "decimal commas and points between thousands"),
    "commas and decimal points": written(lambda row: f"1,{row + 100}.5", "commas between thousands"),
    "blanks": written(lambda row: f"1 {row + 100},5", "decimal commas and blanks between thousands"),
    "no-break spaces": written(lambda row: f"1\u00a0{row + 100}", "blanks between thousands"),
    "narrow no-break spaces": written(lambda row: f"1\u202f{row + 100}", "blanks between thousands"),
    "apostrophes": written(lambda row: f"1’{row + 100}.{row}", "apostrophes between thousands"),
    "lakh and crore": written(lambda row: f"1,{row + 10},000", "commas between thousands"),
    "per cent": written(lambda row: f"{row}.5%", "the unit '%'"),
    "per cent after a blank": written(lambda row: f"{row},5 %", "decimal commas and the unit '%'"),
    "dollars": written(lambda row: f"${row}.50", r"the unit '\$'"),
    "dollars of accountants": written(lambda row: f"$({row}.50)" if row % 2 else f"{row}", r"the unit '\$'"),
    "euros": written(lambda row: f"{row},50 €", "decimal commas and the unit '€'"),
    "currency code": written(lambda row: f"EUR {row}.50", "the unit 'EUR'"),
    "unit": written(lambda row: f"{row}.5 kWh", "the unit 'kWh'"),
    "unit with digits": written(lambda row: f"{row} W/m2", "the unit 'W/m2'"),
    "millions and thousands": written(lambda row: f"{row}.5{'MK'[row % 2]}", "the unit 'M', 'K'|the unit 'K', 'M'"),
    "minus sign": written(lambda row: f"\u2212{row}.5", "signs"),
    "trailing minus": written(lambda row: f"{row}.5-", "signs"),
    "negative in parentheses": written(lambda row: f"({row}.5)" if row % 2 else f"{row}", "signs"),
    "static with a decimal comma": Repaired(
        with_column("c", lambda row: '"1,5"', PANEL), STATIC, r"decimal commas read in column 'c'", rows=80
    ),
    "points between thousands": Repaired(
        EUROPEAN,
        [*TIMED, "data.target=c"],
        r"numbers with points between thousands read in column 'c' \('1.500' = 1500\)",
    ),
    "points between thousands beside a decimal comma": Repaired(
        EUROPEAN,
        [*TIMED, "data.target=c", "data.past_covariates=[d]"],
        r"numbers with points between thousands read in column 'c'",
    ),
    "decimal points in a file of commas": Repaired(
        EUROPEAN.replace(".5", ".05"), [*TIMED, "data.past_covariates=[c]"], r"data.csv: columns are separated by ';'"
    ),
    "comments": Refused(
        with_column("c", lambda row: f"comment {row}"),
        PAST,
        r"data.csv, line 2: 'comment 0' in column 'c' is not a number, and with 40 different texts",
    ),
    "dates as a covariate": Refused(
        with_column("c", lambda row: f"2020-01-{row + 1:02}"),
        PAST,
        r"'2020-01-01' in column 'c' is not a number, and with",
    ),
    "numbers of unlike units": Refused(
        with_column("c", lambda row: f"{row} {'kWh' if row % 2 else 'MWh'}"), PAST, r"line 2: '0 MWh' .* nearly as many"
    ),
    "shops": Repaired(with_column("c", lambda row: f"shop {row % 20}"), PAST, ""),
    "ordinals": Repaired(
        with_column("c", lambda row: ["1st", "2nd", "3rd", "4th", "5th", "6th", "7th"][row % 7]), PAST, ""
    ),
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
    "meter in watt-hours": large(lambda i: 1_234_568_665 + 700 * i + i * i % 97),
    "small changes at a billion": large(lambda i: 1_000_000_070 + 17 * i % 60),
    "degrees of a position": large(lambda i: f"{52.5 + 1e-5 * (7 * i % 10):.6f}"),
    "unix seconds as values": large(lambda i: 1_700_000_000 + 3600 * i + i % 7),
    "more digits than float64": Repaired(
        with_cell("9007199254740993"),
        TIMED,
        r"1 number in column 'y' beyond 2\^53 .* \(first: '9007199254740993' in line 12\)",
    ),
    "covariate around a billion": Repaired(
        {"data.parquet": parquet(frame(c=[1e9 + i % 7 for i in range(40)]))},
        [*PARQUET, "data.past_covariates=[c]"],
        r"column 'c': values around 1,000,000,00\d.* have a deviation of .*, too little for float32",
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
