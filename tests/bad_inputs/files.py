"""Bad paths, files and columns."""

import gzip

import polars as pl

from bad_inputs import GOOD, TIMED, Case, Refused, Repaired
from bad_inputs.build import ROWS, daily, frame, lines, parquet, value, with_column

PARQUET = ("data.path=data.parquet", *TIMED)
WIDE = lines([f"{row},{value(row)},{value(row + 1)}" for row in range(ROWS)], header="t,a,b")
THREE = with_column("z", value)

CASES: dict[str, Case] = {
    "no such file": Refused(GOOD, ["data.path=absent.csv"], r"data.path=absent.csv does not exist as a file"),
    "URL": Refused(GOOD, ["data.path='http://127.0.0.1:9/d.csv'"], r"http://127.0.0.1:9/d.csv cannot be downloaded"),
    "URL of a page": Refused(
        GOOD, ["data.path='https://example.org/d'"], r"https://example.org/d has an unknown suffix"
    ),
    "FTP": Refused(GOOD, ["data.path='ftp://example.org/d.csv'"], r"ftp://example.org/d.csv is a URL, .*download it"),
    "bucket": Refused(GOOD, ["data.path='s3://bucket/d.parquet'"], r"s3://bucket/d.parquet is a URL"),
    "file URL": Refused(GOOD, ["data.path='file:///etc/hosts.csv'"], r"file:///etc/hosts.csv is a URL"),
    "device": Refused(GOOD, ["data.path=/dev/zero"], r"data.path=/dev/zero does not exist as a file"),
    "password file": Refused(GOOD, ["data.path=/etc/passwd"], r"data.path=/etc/passwd has an unknown suffix; .*\.csv"),
    "spreadsheet": Refused(
        {"data.xlsx": b"PK"}, ["data.path=data.xlsx"], r"data.xlsx(: spreadsheets need .*fastexcel| cannot)"
    ),
    "archive": Refused({"data.zip": b"PK"}, ["data.path=data.zip"], r"data.zip has an unknown suffix; accepted are"),
    "empty file": Refused("", TIMED, r"data.csv is empty: the first line must name the columns"),
    "blank first line": Repaired("\n" + GOOD, TIMED, ""),
    "only blank lines": Refused("\n\n", TIMED, r"data.csv, line 1 is empty"),
    "title": Repaired("Energy report\n" + GOOD, TIMED, r"line 1, before the header, is left out: 'Energy report'"),
    "titles and blank lines": Repaired(
        "Energy report;;\n\nin MW;Germany\n" + THREE.replace(",", ";"),
        TIMED,
        r"data.csv: lines 1 to 3, before the header, are left out: 'Energy report' ...",
    ),
    "titles of several fields": Repaired(
        '"Data Source","World, Bank"\n\n"Last Updated","2020-01-02"\n' + THREE,
        TIMED,
        r"lines 1 to 3, before the header",
    ),
    "address before the header": Repaired(
        "https://www.example.org/data\n" + THREE, TIMED, r"line 1, before .*: 'https://www"
    ),
    "comment before the header": Repaired("# made in 2020\n" + GOOD, TIMED, r"line 1, before the .*: '# made in 2020'"),
    "separator of a spreadsheet": Repaired(
        "sep=;\n" + GOOD.replace(",", ";"), TIMED, r"line 1, .* is left out: 'sep='"
    ),
    "bad cell below a title": Refused(
        "Energy report\n" + daily({9: "2020-01-08,x"}), TIMED, r"data.csv, line 10: 'x' in column 'y' is not a number"
    ),
    "row too long below a title": Refused(
        "Energy report\n" + daily({9: "2020-01-08,1,2"}), TIMED, r"data.csv, line 10 has 3 fields, .* names 2 columns"
    ),
    "units below the header": Repaired(GOOD.replace("t,y\n", "t,y\n,(MW)\n"), TIMED, r"line 2 holds no .*: '\(MW\)'"),
    "units of times": Repaired(GOOD.replace("t,y\n", "t,y\nUTC,W/m2\n"), TIMED, r"line 2 holds no .*: 'UTC', 'W/m2'"),
    "two lines below the header": Repaired(
        THREE.replace("t,y,z\n", "t,y,z\nTicker,AAPL,AAPL\nDate,,\n"), TIMED, r"line 3 holds no values .*: 'Date'"
    ),
    "units in a table of steps": Repaired(
        lines([f"{value(row)},{row}" for row in range(ROWS)], header="y,z\nkWh,EUR"), [], r"line 2 holds no values"
    ),
    "bad cell below units": Refused(
        daily({9: "2020-01-08,x"}).replace("t,y\n", "t,y\n,kWh\n"), TIMED, r"data.csv, line 10: 'x' in column 'y'"
    ),
    "bad first cell is no unit": Refused(
        daily({2: "2020-01-01,x"}), TIMED, r"data.csv, line 2: 'x' in column 'y' is not"
    ),
    "bad first cell of a known series": Refused(
        lines([f"{'ab'[row % 2]},{'x' if row == 0 else row}" for row in range(ROWS)], header="s,y"),
        ["data.id=s"],
        r"data.csv, line 2: 'x' in column 'y' is not a number",
    ),
    "total": Repaired(GOOD + "Total,157\n", TIMED, r"left out below the last time: line 42 'Total'"),
    "source and remark": Repaired(
        GOOD + '\n"* preliminary, see below",\nSource: office 2020,\n',
        TIMED,
        r"line 43 '\* prel.*', line 44 'Source: office",
    ),
    "total with its unit": Repaired(GOOD + "Sum,157 MWh\n", TIMED, r"left out below the last time: line 42 'Sum'"),
    "total of each file": Repaired(
        {
            "tables/a.csv": daily(rows=20) + "Total,9\n",
            "tables/b.csv": daily(rows=20, first="2020-01-21") + "Total,9\n",
        },
        ["data.path=tables", *TIMED],
        r"tables/b.csv: left out below the last time: line 22 'Total'",
    ),
    "total amid the rows": Refused(daily({20: "Total,5"}), TIMED, r"data.csv, line 20: 'Total' in column 't' is not a"),
    "bad last time": Refused(daily({41: "2020-02-9x,5"}), TIMED, r"data.csv, line 41: '2020-02-9x' in column 't'"),
    "column without a name": Repaired(
        with_column("", value), TIMED, r"the header has 1 column without a name: called 'column_3', by position"
    ),
    "separator at the end of each line": Repaired(
        GOOD.replace("\n", ";\n").replace(",", ";"), TIMED, r"1 column without a name: called 'column_3'"
    ),
    "index without a name": Repaired(
        with_column("z", value).replace("t,y", ",y"), ["data.time=", "data.target=['*']"], r"called 'column_1'", rows=80
    ),
    "index by its position": Repaired(GOOD.replace("t,y", ",y"), ["data.time=column_1"], r"called 'column_1'"),
    "index left out of all columns": Repaired(
        lines([f"{row},{value(row)},{value(row)}" for row in range(ROWS)], header=",y,z"),
        ["data.target=['*']"],
        r"called 'column_1'",
        rows=80,
    ),
    "unused column twice": Repaired(
        with_column("z", value, with_column("z", value)),
        TIMED,
        r"header names 'z' 2 times: called 'z_3', 'z_4', by position",
    ),
    "second column of a name": Repaired(
        with_column("y", value), [*TIMED, "data.target=y_3"], r"header names 'y' 2 times: called 'y_2', 'y_3'"
    ),
    "name of two columns": Refused(
        with_column("y", value),
        TIMED,
        r"data.target: data.csv names column 'y' more than once: choose one of 'y_2', 'y_3'",
    ),
    "header only": Refused("t,y\n", TIMED, r"data.csv has a header but no rows"),
    "no header": Refused(GOOD.partition("\n")[2], TIMED, r"data.csv has no column 'y'; nearest: '2020-01-01', '1'"),
    "picture": Refused(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(99), TIMED, r"data.csv is not UTF-8 text"),
    "not UTF-8": Refused(GOOD.replace(",3", ",\xe9").encode("latin-1"), TIMED, r"data.csv is not UTF-8 text"),
    "UTF-16": Refused(GOOD.encode("utf-16"), TIMED, r"data.csv is not UTF-8 text: save it with that encoding"),
    "NUL byte": Refused(daily({5: "2020-01-04,\0"}), TIMED, r"data.csv, line 5: '\\x00' in column 'y' is not a number"),
    "byte order mark": Repaired("\ufeff" + GOOD, TIMED, ""),
    "Windows line ends": Repaired(GOOD.replace("\n", "\r\n").encode(), TIMED, ""),
    "semicolons": Repaired(GOOD.replace(",", ";"), TIMED, r"data.csv: columns are separated by ';'"),
    "tabs": Repaired(GOOD.replace(",", "\t"), TIMED, r"data.csv: columns are separated by '\\t'"),
    "blank lines": Repaired(GOOD.replace("\n2020-01-09", "\n\n\n2020-01-09") + "\n\n", TIMED, ""),
    "cut archive": Refused(
        {"data.csv.gz": gzip.compress(GOOD.encode())[:-9]},
        ["data.path=data.csv.gz", *TIMED],
        r"data.csv.gz cannot be read as CSV",
    ),
    "not an archive": Refused(
        {"data.csv.gz": GOOD}, ["data.path=data.csv.gz", *TIMED], r"data.csv.gz cannot be read as CSV"
    ),
    "CSV called Parquet": Refused({"data.parquet": GOOD}, PARQUET, r"data.parquet cannot be read as Parquet: "),
    "Parquet called CSV": Refused(parquet(frame()), TIMED, r"data.csv is not UTF-8 text"),
    "cut Parquet": Refused(
        {"data.parquet": parquet(frame())[:-40]}, PARQUET, r"data.parquet cannot be read as Parquet"
    ),
    "damaged Parquet": Refused(
        {"data.parquet": b"PAR1" + bytes(80) + b"PAR1"}, PARQUET, r"data.parquet cannot be read"
    ),
    "Parquet of lists": Refused(
        {"data.parquet": parquet(frame(z=[[1]] * ROWS))},
        [*PARQUET, "data.target=z"],
        r"data.parquet: column 'z' holds List\(Int64\), but numbers are needed",
    ),
    "Parquet of durations": Refused(
        {"data.parquet": parquet(frame(z=pl.Series([1] * ROWS).cast(pl.Duration("us"))))},
        [*PARQUET, "data.target=z"],
        r"data.parquet: column 'z' holds Duration.*numbers are needed",
    ),
    "empty directory": Refused(
        {"tables/note.txt": "none"}, ["data.path=tables"], r"data.path=tables is a directory without"
    ),
    "both kinds in a directory": Refused(
        {"tables/a.csv": GOOD, "tables/b.parquet": parquet(frame())},
        ["data.path=tables", *TIMED],
        r"data.path=tables holds CSV and Parquet files \(a.csv and b.parquet\)",
    ),
    "other columns in a file": Refused(
        {"tables/a.csv": GOOD, "tables/b.csv": with_column("z", value)},
        ["data.path=tables", *TIMED],
        r"b.csv has a column 'z' that tables/a.csv lacks",
    ),
    "column lacking in a file": Refused(
        {"a.csv": with_column("z", value), "b.csv": GOOD},
        ["data.path=[a.csv,b.csv]", *TIMED],
        r"b.csv lacks column 'z' of a.csv",
    ),
    "same file twice": Refused(
        {"a.csv": GOOD}, ["data.path=[a.csv,a.csv]", *TIMED], r"data.path names a.csv more than"
    ),
    "partitions that differ": Refused(
        {"tables/region=n/a.csv": GOOD, "tables/b.csv": GOOD},
        ["data.path=tables", *TIMED],
        r"tables/region=n/a.csv lies in directories for region, but tables/b.csv in those for no",
    ),
    "one file of many is ragged": Refused(
        {"tables/a.csv": GOOD, "tables/b.csv": daily({9: "2020-01-08,1,2"})},
        ["data.path=tables", *TIMED],
        r"tables/b.csv, line 9 has 3 fields, but the header names 2 columns",
    ),
    "no such column": Refused(GOOD, ["data.time=T", "data.target=yy"], r"data.target: .* no column 'yy'; nearest: 'y'"),
    "column in other case": Refused(GOOD, ["data.time=T"], r"data.time: data.csv has no column 'T'"),
    "number of a column twice": Refused(
        GOOD.replace("t,y", "y,y,y_1"), TIMED, r"data.csv, line 1 names column 'y_1' more than once"
    ),
    "column of two roles": Refused(GOOD, ["data.time=y"], r"data.time: column 'y' is already in data.target"),
    "long row": Refused(daily({7: "2020-01-06,1,2"}), TIMED, r"data.csv, line 7 has 3 fields, .* names 2 columns"),
    "every row longer than the header": Refused(
        GOOD.replace("\n2", "\n9,2"), TIMED, r"data.csv, line 2 has 3 fields, but the header names 2 columns"
    ),
    "short row": Repaired(
        daily({7: "2020-01-06"}), TIMED, r"1 missing value in column 'y' \(first: line 7\)", missing=1
    ),
    "open quote": Refused(daily({7: '"2020-01-06,1'}), TIMED, r"data.csv cannot be read as CSV: could not parse"),
    "no target": Refused(GOOD, ["data.target=[]"], r"data.target names no column of data.csv"),
    "unknown layout": Refused(GOOD, ["data.layout=tall"], r"data.layout=tall is unknown; it must be one of auto, long"),
    "star in a long table": Refused(
        WIDE, ["data.target='*'", "data.layout=long"], r"data.target=\* .*data.layout=wide"
    ),
    "wide with an id": Refused(
        WIDE, ["data.layout=wide", "data.id=a", "data.target=b"], r"data.id=a does not go with data.l"
    ),
    "wide columns": Repaired(
        WIDE, ["data.target=['*']", *TIMED], r"data.csv: taken as wide: one column per s", rows=80
    ),
}
