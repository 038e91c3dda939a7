"""Stores: equal to their source after any interruption, checked for damage, read in little memory."""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from command_line import forked
from data import integers
from small_runs import fit, small_module

from datamodules import stored
from datamodules.precision import choose_precision
from datamodules.series import SeriesSet, Shard
from datamodules.store import writer
from datamodules.store.convert import Conversion
from datamodules.store.format import StoredSeries, open_store, verify
from datamodules.store.writer import StoreWriter
from datamodules.stored import Stored
from datamodules.synthetic import Panel
from datamodules.table import Table
from datamodules.windows.samplers import BlockShuffleSampler
from seqmodels.errors import InputError

WINDOWS: dict[str, Any] = {"past_steps": 5, "horizon": 2}
COLUMNS: dict[str, Any] = {"target": ["y", "z"], "time": "t", "id": "id", "statics": ["shop"],
                           "past_covariates": ["weather", "load"], "known_covariates": ["price"]}  # fmt: skip
START = datetime(2021, 1, 4)
ARRAYS = ("values", "offsets", "time", "past_covariates", "known_covariates", "static")
PLAIN = ("channels", "names", "past_covariate_names", "known_covariate_names", "static_names", "zone", "frequency",
         "season", "source", "missing")  # fmt: skip


def table(series: int = 12, seed: int = 0) -> pl.DataFrame:
    """Series of 20 to 60 days with absent days, missing cells, and categories that appear only in later series."""
    random = np.random.default_rng(seed)
    frames = []
    for number in range(series):
        kept = [day for day in range(random.integers(20, 60)) if day < 2 or random.random() > 0.05]
        rows = len(kept)
        weather = random.choice(["sun", "rain", "fog"] if number > 4 else ["sun", "rain"], rows)
        columns = {
            "id": [f"s{number}"] * rows,
            "t": [START + timedelta(days=day) for day in kept],
            "y": pl.Series(random.normal(size=rows).round(4)).set(pl.Series(random.random(rows) < 0.1), None),
            "z": random.normal(size=rows).round(4),
            "shop": [f"shop {9 - number % 4}"] * rows,
            "weather": pl.Series(weather).set(pl.Series(random.random(rows) < 0.1 + (number < 2)), None),
            "load": pl.Series(random.normal(size=rows)).set(pl.Series(random.random(rows) < 0.1), None),
            "price": random.random(rows),
        }
        frames.append(pl.DataFrame(columns))
    return pl.concat(frames)


def convert(data: Any, output: Path, part_rows: int = 100, **settings: Any) -> StoredSeries:
    list(Conversion(output=str(output), part_rows=part_rows).run(data, settings))
    return open_store(output)


def assert_same(found: SeriesSet, expected: SeriesSet) -> None:
    for name in PLAIN:
        assert getattr(found, name) == getattr(expected, name), name
    assert dict(found.categories) == dict(expected.categories)
    for name in ARRAYS:
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other, err_msg=name)
    everywhere = np.ones(expected.values.shape, bool)
    observed = [everywhere if series.observed is None else series.observed for series in (found, expected)]
    np.testing.assert_array_equal(*observed)


def check_conversion(data: Any, output: Path, part_rows: int) -> StoredSeries:
    found = convert(data, output, part_rows)
    assert_same(found, choose_precision(data.read()))
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def write(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return path


def build_table(frame: pl.DataFrame, path: Path, **roles: Any) -> Table:
    """A Table of the frame written to ``path``, by default with the roles of ``table``."""
    return Table(path=write(frame, path), **(roles or COLUMNS), **WINDOWS)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
@pytest.mark.parametrize("order", ["by series", "by time", "none"])
@pytest.mark.parametrize("part_rows", [60, 10**6])
def test_a_store_holds_what_the_reader_reads(name: str, order: str, part_rows: int, tmp_path: Path) -> None:
    shuffled = table().sample(fraction=1, shuffle=True, seed=1)
    frame = {"by series": table(), "by time": table().sort("t"), "none": shuffled}[order]
    data = build_table(frame, tmp_path / name)
    found = check_conversion(data, tmp_path / "a.store", part_rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "a.store"]
    assert verify(tmp_path / "a.store") > 0
    assert any("absent days made explicit" in note for note in found.notes)
    assert any("likewise in" in note for note in found.notes) == (part_rows == 60)


@pytest.mark.parametrize("part_rows", [7, 50])
def test_a_series_of_several_shards_is_joined_again(part_rows: int, tmp_path: Path) -> None:
    """Also if days are absent at the border of two shards."""
    frame = table(1, seed=3).drop("id").filter(pl.int_range(pl.len()) % 3 != 2)
    data = build_table(frame, tmp_path / "a.csv", **{**COLUMNS, "id": None})
    check_conversion(data, tmp_path / "a.store", part_rows)
    plain = Table(path=tmp_path / "a.csv", target=["z"], time=None, past_covariates="load", **WINDOWS)
    check_conversion(plain, tmp_path / "plain.store", part_rows)


def test_shards_refuse_what_needs_the_whole_table(tmp_path: Path) -> None:
    """Times that no setting names, and days whose offsets change, which a shard in winter would not show."""
    moments = pl.datetime_range(
        datetime(2021, 3, 1), datetime(2021, 4, 29), "1d", time_zone="Europe/Berlin", eager=True
    )
    frame = pl.DataFrame({"t": moments.dt.strftime("%Y-%m-%d %H:%M%:z"), "y": np.arange(len(moments)) % 5})
    frame.write_csv(tmp_path / "a.csv")
    for time, rule in ((None, None), ("auto", "set data.time=t, or"), ("t", "set data.time_zone, such as")):
        data = Table(path=tmp_path / "a.csv", target="y", time="t" if time is None else time,
                     time_zone=None if time else "Europe/Berlin", **WINDOWS)  # fmt: skip
        if rule is None:
            check_conversion(data, tmp_path / "a.store", 40)
            continue
        with pytest.raises(InputError, match=rule):
            convert(data, tmp_path / f"{time}.store", 40)


def test_absent_steps_between_shards_repeat_the_last_category(tmp_path: Path) -> None:
    weather = ["sun"] * 10 + ["fog", "sun"] * 10 + ["rain"] * 10
    for cut in (10, 20, 30):  # where three days are absent
        frame = days(40, s=weather).with_columns(pl.col("t") + pl.duration(days=3 * (pl.int_range(pl.len()) >= cut)))
        data = build_table(frame, tmp_path / "a.parquet", target="y", time="t", past_covariates="s")
        check_conversion(data, tmp_path / f"{cut}.store", 10)


def test_long_and_short_series_in_one_store(tmp_path: Path) -> None:
    long = table(1, seed=5).with_columns(id=pl.lit("long"))
    frame = pl.concat([table(3), long, table(2, seed=9).with_columns(pl.col("id") + "x")])
    data = build_table(frame, tmp_path / "a.parquet")
    check_conversion(data, tmp_path / "a.store", len(long) // 2)


def test_partitions_and_several_id_columns(tmp_path: Path) -> None:
    for region, seed in (("north", 1), ("south", 2)):
        (tmp_path / "data" / f"region={region}").mkdir(parents=True)
        table(6, seed).write_parquet(tmp_path / "data" / f"region={region}" / "part.parquet")
    data = Table(path=tmp_path / "data", **{**COLUMNS, "id": ["region", "id"]}, **WINDOWS)
    found = check_conversion(data, tmp_path / "a.store", 70)
    assert found.names[:2] == ("north/s0", "north/s1") and found.names[-1] == "south/s5"


def test_wide_tables_and_data_frames_are_converted_as_one_shard(tmp_path: Path) -> None:
    wide = pl.DataFrame({"a": range(30), "b": range(30, 60)})
    data = build_table(wide, tmp_path / "wide.csv", target="*")
    check_conversion(data, tmp_path / "wide.store", 5)
    frame = Table(path=table(), **COLUMNS, **WINDOWS)
    check_conversion(frame, tmp_path / "frame.store", 5)


def test_a_generated_panel_is_converted_shard_by_shard(tmp_path: Path) -> None:
    data = Panel(series=30, least_steps=10, most_steps=50, dates=True, **WINDOWS)
    lines = list(Conversion(output=str(tmp_path / "p.store"), part_rows=100).run(data, {}))
    assert len(lines) > 5 and lines[-1].startswith(f"Written: {tmp_path / 'p.store'} (30 series, ")
    assert_same(open_store(tmp_path / "p.store"), data.read())
    assert not (tmp_path / "p.store" / "observed.bin").exists(), "nothing is missing, so there is no mask"


class Interrupted(Exception): ...


def convert_interrupted(data: Table, output: Path, part_rows: int, shard: int, monkeypatch) -> None:
    """Convert, but raise in the middle of writing this shard."""
    commit = StoreWriter._commit

    def die(self: StoreWriter) -> None:
        if self.done > shard:
            raise Interrupted
        commit(self)

    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "_commit", die)
        with pytest.raises(Interrupted):
            convert(data, output, part_rows)


@pytest.mark.parametrize("shard", [0, 1, 4])
@pytest.mark.parametrize("name", ["a.csv", "one.csv"])
def test_an_interrupted_conversion_continues(shard: int, name: str, tmp_path: Path, monkeypatch) -> None:
    frame, rows = (table(1, seed=2), 6) if name == "one.csv" else (table(), 60)
    data = build_table(frame, tmp_path / name)
    convert(data, tmp_path / "whole.store", rows)
    convert_interrupted(data, tmp_path / "a.store", rows, shard, monkeypatch)
    with pytest.raises(InputError, match="a.store is not finished: run the same command again"):
        open_store(tmp_path / "a.store")
    lines = list(Conversion(output=str(tmp_path / "a.store"), part_rows=rows).run(data, {}))
    assert files_of(tmp_path / "a.store") == files_of(tmp_path / "whole.store")
    read = [int(line.split()[1].rstrip(":")) for line in lines if line.startswith("shard ")]
    assert read == list(range(shard + 1, shard + 1 + len(read))) != [], "finished shards are not read again"


@pytest.mark.parametrize("step", ["_meta", "write_json", "publish"])
def test_an_interruption_while_finishing_is_harmless(step: str, tmp_path: Path, monkeypatch) -> None:
    data = build_table(table(), tmp_path / "a.csv")
    convert(data, tmp_path / "whole.store", 60)

    def die(*arguments: Any) -> None:
        if step != "write_json" or arguments[0].name == "store.json":
            raise Interrupted
        write_json(*arguments)

    with monkeypatch.context() as patched:
        write_json = writer.write_json
        patched.setattr(StoreWriter if step == "_meta" else writer, step, die)
        with pytest.raises(Interrupted):
            convert(data, tmp_path / "a.store", 60)
    assert not (tmp_path / "a.store").exists()
    convert(data, tmp_path / "a.store", 60)
    assert files_of(tmp_path / "a.store") == files_of(tmp_path / "whole.store")


def test_an_existing_store_is_verified_and_tied_to_its_source(tmp_path: Path) -> None:
    path, output = write(table(), tmp_path / "a.csv"), tmp_path / "a.store"
    settings = {"target": ["y"], "seed": 1, "past_steps": 3}

    def run(**changed: Any) -> list[str]:
        data = Table(path=path, **COLUMNS, **WINDOWS)
        return list(Conversion(output=str(output)).run(data, {**settings, **changed}))

    assert run()[-1].startswith("Written:")
    (line,) = run(past_steps=17, seed=0)  # keys of windows are ignored
    assert line.startswith(f"{output} already exists: ") and line.endswith("all checksums correct.")
    with pytest.raises(InputError, match=r"was made from other settings.target \(\['y'\] then, \['z'\] now\)"):
        run(target=["z"])
    write(table(seed=1), path)
    with pytest.raises(InputError, match=r"was made from other files\..*a.csv.bytes \(\d+ then, \d+ now\)"):
        run()
    output.joinpath("store.json").unlink()
    with pytest.raises(InputError, match="exists and is not a store"):
        run()


def test_an_unfinished_store_with_other_settings_is_refused(tmp_path: Path, monkeypatch) -> None:
    data = build_table(table(), tmp_path / "a.csv")
    convert_interrupted(data, tmp_path / "a.store", 60, 2, monkeypatch)
    with pytest.raises(InputError, match=r"a.store.partial was started with other part_rows \(60 then, 70 now\)"):
        convert(data, tmp_path / "a.store", 70)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    convert(build_table(table(), tmp_path / "a.csv"), tmp_path / "a.store")
    return tmp_path / "a.store"


@pytest.mark.parametrize("file", ["values.bin", "time.bin", "lengths.bin", "known_covariates.bin"])
def test_the_error_names_a_truncated_or_absent_file(file: str, small: Path) -> None:
    size = (small / file).stat().st_size
    with (small / file).open("r+b") as opened:
        opened.truncate(size - 3)
    with pytest.raises(InputError, match=f"{file} has {size - 3:,} bytes, but {size:,} were written: the store is dam"):
        open_store(small)
    (small / file).unlink()
    with pytest.raises(InputError, match=f"{file} is absent, but {size:,} were written"):
        open_store(small)


@pytest.mark.parametrize("file", ["values.bin", "observed.bin", "names.jsonl"])
def test_checksums_detect_a_changed_byte(file: str, small: Path) -> None:
    content = bytearray((small / file).read_bytes())
    content[len(content) // 2] ^= 1
    (small / file).write_bytes(content)
    open_store(small)
    with pytest.raises(InputError, match=rf"{file} has the CRC-32 [0-9a-f]{{8}}, but [0-9a-f]{{8}} was written"):
        verify(small)
    with pytest.raises(InputError, match="CRC-32"):
        Stored(path=str(small), verify=True, **WINDOWS).setup()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"format": "series store", "version": 2}', "has format version 2, but only 1 can be read"),
        ('{"format": "other"}', "does not describe a series store"),
        ("{", "is not valid JSON"),
    ],
)
def test_another_format_is_refused(content: str, words: str, small: Path) -> None:
    (small / "store.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        open_store(small)


def test_other_paths_than_stores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist .* make a store with seqmodels convert"):
        open_store(tmp_path / "a.store")
    with pytest.raises(InputError, match="is a directory without store.json"):
        open_store(tmp_path)


def test_errors_name_the_line_of_the_table_and_not_of_the_shard(tmp_path: Path) -> None:
    lines = table().write_csv().splitlines()
    lines[250] = lines[250].replace(lines[250].split(",")[3], "3,5".replace(",", ";"))
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = Table(path=tmp_path / "a.csv", **COLUMNS, **WINDOWS)
    with pytest.raises(InputError, match=r"a.csv, line 251: '3;5' in column 'z' is not a number"):
        convert(data, tmp_path / "a.store", 60)
    lines[250] = lines[250] + ",1"
    (tmp_path / "b.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="b.csv, line 251 has 9 fields, but the header names 8 columns"):
        convert(Table(path=tmp_path / "b.csv", **COLUMNS, **WINDOWS), tmp_path / "b.store", 60)


def days(count: int, offset: str = "0d", **columns: Any) -> pl.DataFrame:
    times = [START + timedelta(days=day) for day in range(count)]
    frame = pl.DataFrame({"t": times, "y": [1.0, 2.0] * (count // 2), **columns})
    return frame.with_columns(pl.col("t").dt.offset_by(offset))


@pytest.mark.parametrize(
    ("frame", "roles", "words"),
    [
        (days(40).reverse(), {}, "comes later in the table than .* sort the table first"),
        (days(40, s=["a"] * 30 + ["b"] * 10), {"statics": ["s"]}, "column 's' changes within series"),
        (days(40, s=[0.0] * 20 + [5.0] * 20), {"statics": ["s"]}, "column 's' changes within series"),
        (days(40, s=[*"123"] * 10 + ["b"] * 10), {"past_covariates": "s"}, "row 31: 'b' in column 's' is not a number"),
        (days(20).vstack(days(20, "3000d")), {}, "lies 2,981 steps after 2021-01-23: check the times"),
        (days(20).vstack(days(20, "20d7h")), {}, "is not a whole number of steps after 2021-01-23"),
    ],
)
def test_shards_that_do_not_fit_together_are_refused(frame, roles, words: str, tmp_path: Path) -> None:
    data = build_table(frame, tmp_path / "a.parquet", target="y", time="t", **roles)
    with pytest.raises(InputError, match=words) as error:
        convert(data, tmp_path / "a.store", 10)
    assert "\n" not in str(error.value)


def test_a_column_with_text_in_one_shard_and_numbers_in_another_is_refused(tmp_path: Path) -> None:
    def series(column: float, **more: Any) -> SeriesSet:
        return SeriesSet(
            np.ones((3, 1), np.float32), np.array([0, 3]), ("y",), past_covariates=np.full((3, 1), column, np.float32),
            past_covariate_names=("s",), **more,
        )  # fmt: skip

    writer = StoreWriter(tmp_path / "a.store", {})
    writer.append(Shard(series(7)))
    with pytest.raises(InputError, match="column 's' holds text such as 'b' in some series and only numbers"):
        writer.append(Shard(series(1, categories={"s": ("b",)})))


def test_rows_of_a_long_series_need_not_be_adjacent(tmp_path: Path) -> None:
    one, other = days(30).with_columns(id=pl.lit("a")), days(60).with_columns(id=pl.lit("b"))
    frame = pl.concat([one[:15], other, one[15:]])
    data = build_table(frame, tmp_path / "a.parquet", target="y", time="t", id="id")
    check_conversion(data, tmp_path / "a.store", 10)


def test_long_series_are_cut_into_shards_of_equal_size_across_read_batches(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("datamodules.tables.shards.BATCH", 7)
    one, other = days(30).with_columns(id=pl.lit("a")), days(60).with_columns(id=pl.lit("b"))
    frame = pl.concat([other[:50], one, other[50:]])
    data = build_table(frame, tmp_path / "a.csv", target="y", time="t", id="id")
    shards = list(data.shards(tmp_path / "shards", 10, 0))
    assert [len(shard.series.values) for shard in shards] == [10] * 9
    assert [shard.continues for shard in shards] == [False] + [True] * 5 + [False] + [True] * 2


@pytest.mark.parametrize("role", ["past_covariates", "statics"])
@pytest.mark.parametrize("rare", [["1", "2"], ["true", "false"], ["-7", "-7"]])
@pytest.mark.parametrize("turn", [1, -1])
def test_the_whole_table_decides_if_a_column_is_categorical(
    role: str, rare: list[str], turn: int, tmp_path: Path
) -> None:
    """Even if one shard holds only numbers, true and false, or missing values."""
    values = [*rare, "A", "B", "C"][::turn]
    frame = pl.concat([days(20, s=[value] * 20, id=[str(place)] * 20) for place, value in enumerate(values)])
    roles = {role: "s", "target": "y", "time": "t", "id": "id", "missing_values": {"s": [-7]}}
    for name, kind in (("a.csv", pl.String), ("a.parquet", pl.String), ("b.parquet", pl.Categorical)):
        data = build_table(frame.with_columns(pl.col("s").cast(kind)), tmp_path / name, **roles)
        found = check_conversion(data, tmp_path / f"{name}.store", 20)
        assert found.categories == {"s": tuple(sorted({*values} - {"-7"}))}


@pytest.mark.parametrize("turn", [1, -1])
def test_the_whole_table_decides_how_numbers_are_written(turn: int, tmp_path: Path) -> None:
    """Even if a shard holds only 1,507, which may be thousands."""
    values = ["1,5", "1,507", "12"][::turn]
    frame = pl.concat([days(20, y=[value] * 20, c=[value] * 20, id=[value] * 20) for value in values])
    data = build_table(frame, tmp_path / "a.csv", target="y", past_covariates="c", time="t", id="id")
    found = check_conversion(data, tmp_path / "a.store", 20)
    assert found.values[::20, 0].tolist() == np.float32([1.5, 1.507, 12])[::turn].tolist()


@pytest.mark.parametrize(("missing", "value"), [(None, 5.0), ("", "x"), ("", "5")])
@pytest.mark.parametrize("part_rows", [10, 20])
def test_a_static_value_in_some_rows_of_a_long_series_holds_for_all(
    missing: Any, value: Any, part_rows: int, tmp_path: Path
) -> None:
    long = days(40, s=[missing] * 20 + [value] * 10 + [missing] * 10, id=["a"] * 40)
    short = days(10, s=[value] * 10, id=["b"] * 10)
    for order, frames in {"first": [long, short], "last": [short, long], "amid": [short, long, short]}.items():
        frame = pl.concat([part.with_columns(pl.col("id") + str(place)) for place, part in enumerate(frames)])
        data = build_table(frame, tmp_path / f"{order}.parquet", target="y", time="t", id="id", statics="s")
        check_conversion(data, tmp_path / f"{order}.store", part_rows)


def test_utc_offsets_that_differ_between_shards(tmp_path: Path) -> None:
    """As at the end of summer time in Europe."""
    hours = pl.Series("t", [datetime(2020, 10, 20) + timedelta(hours=hour) for hour in range(288)])
    local = hours.dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin").dt.strftime("%Y-%m-%d %H:%M%:z")
    data = Table(path=tmp_path / "a.csv", target="y", time="t", **WINDOWS)
    for times in (local, local[:120]):  # two offsets, one offset
        write(pl.DataFrame({"t": times, "y": range(len(times))}), tmp_path / "a.csv")
        found = check_conversion(data, tmp_path / f"{len(times)}.store", 48)
    assert found.zone == "Etc/GMT-2"


def test_the_frequency_comes_from_series_of_several_rows(tmp_path: Path) -> None:
    dots = pl.DataFrame({"t": [START] * 20, "y": [1.0] * 20, "id": [f"dot {number}" for number in range(20)]})
    line = days(30).with_columns(id=pl.lit("line"))
    for order, frames in {"first": [dots, line], "last": [line, dots]}.items():
        data = build_table(pl.concat(frames), tmp_path / f"{order}.parquet", target="y", time="t", id="id")
        found = check_conversion(data, tmp_path / f"{order}.store", 10)
        assert (found.frequency, found.season) == ("day", 7)


def test_a_column_empty_in_some_shards_takes_its_type_from_the_others(tmp_path: Path) -> None:
    blank: list[str | None] = [None] * 20
    for values in (["b", "a"] * 10, ["2", "1"] * 10):
        for column in (blank + values, values + blank):
            frame = days(40, s=column, w=[None] * 10 + [2.5] * 30)
            data = build_table(frame, tmp_path / "a.csv", target=["y", "w"], time="t", past_covariates="s")
            output = tmp_path / f"{''.join(map(str, column)).replace('None', '-')}.store"
            check_conversion(data, output, 10)


def test_a_mapped_store_is_writable_for_torch_and_its_files_never_change(small: Path) -> None:
    before = files_of(small)
    series = open_store(small)
    tensor = torch.from_numpy(series.values)
    expected = tensor.clone()
    tensor += 1
    assert files_of(small) == before and not torch.equal(tensor, expected)
    series.release()
    assert torch.equal(tensor, expected), "released rows are read from the file again"


def fields_by_origin(loader) -> dict[int, list[list[float]]]:
    found = {}
    for window in loader:
        for row, origin in enumerate(window.origin.tolist()):
            assert origin not in found
            fields = (*window.inputs, *window.targets)
            found[origin] = [field[row].flatten().tolist() for field in fields]
    return found


def test_windows_of_a_store_equal_those_of_its_table(small: Path) -> None:
    data, stored_data = Table(path=small.parent / "a.csv", **COLUMNS, **WINDOWS), Stored(path=str(small), **WINDOWS)
    data.setup()
    stored_data.setup()
    assert stored_data.spec == data.spec and stored_data.windows == data.windows
    for stage, loader in data.loaders.items():
        assert fields_by_origin(loader) == fields_by_origin(stored_data.loaders[stage])
    loader = stored_data.train_dataloader()
    origins = [torch.cat([window.origin for window in loader]).tolist() for _ in range(2)]
    assert origins[0] == origins[1] != sorted(origins[0])
    loader.sampler.set_epoch(1)
    other = torch.cat([window.origin for window in loader]).tolist()
    assert other != origins[0] and sorted(other) == sorted(origins[0])


def test_training_from_a_store_resumes_within_an_epoch(small: Path) -> None:
    data, resumed = (Stored(path=str(small), batch_size=16, **WINDOWS) for _ in range(2))
    data.setup()
    fit(small_module(data), data, [], max_epochs=2, max_steps=len(data.train_dataloader()) + 3, limit_val_batches=0)
    assert data.state_dict()["epoch"] == 1 and data.state_dict()["position"] >= 3
    resumed.setup()
    resumed.load_state_dict({"epoch": 1, "position": 3})
    data.load_state_dict({"epoch": 1, "position": 0})
    whole = [window.origin.tolist() for window in data.train_dataloader()]
    assert [window.origin.tolist() for window in resumed.train_dataloader()] == whole[3:]


def test_training_windows_are_block_shuffled_unless_shuffle_is_false(small: Path) -> None:
    blocks = Stored(path=str(small), block=8, blocks_together=3, **WINDOWS)
    blocks.setup()
    sampler = blocks.train_dataloader().sampler.sampler
    assert isinstance(sampler, BlockShuffleSampler) and (sampler.block, sampler.together) == (8, 3)
    sequential = Stored(path=str(small), shuffle=False, **WINDOWS)
    sequential.setup()
    origins = torch.cat([window.origin for window in sequential.train_dataloader()]).tolist()
    assert origins == sorted(origins)
    with pytest.raises(InputError, match="data.block is 0"):
        Stored(path=str(small), block=0, **WINDOWS)


def test_batches_move_to_the_device_and_the_series_do_not(small: Path) -> None:
    data = Stored(path=str(small), **WINDOWS)
    data.setup()
    data._set_device(torch.device("meta"))
    window = next(iter(data.train_dataloader()))
    assert {field.device.type for field in (*window.inputs, *window.targets)} == {"meta"}
    tensors = data.train_dataloader().tensors
    assert {source.device.type for source in tensors.sources if source is not None} == {"cpu"}


def resident(file: Path) -> int:
    """Bytes of a file that are in the memory of this process."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if "-" in line.split(" ")[0]:
            inside = line.endswith(str(file))
        elif inside and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the memory of each file")
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_large_store_is_read_in_little_memory(shuffle: bool, tmp_path: Path, monkeypatch) -> None:
    output, most = (tmp_path / "large.store").resolve(), 2**23
    values = np.random.default_rng(0).standard_normal((2**24, 1), np.float32)
    writer = StoreWriter(output, {})
    writer.append(Shard(SeriesSet(values, np.array([0, len(values)]), ("y",))))
    writer.finish()
    monkeypatch.setattr(stored, "MAX_MAPPED", most)
    data = Stored(path=str(output), past_steps=50, horizon=10, shuffle=shuffle, batch_size=1024, blocks_together=4)
    data.setup()
    file = output / "values.bin"
    assert resident(file) == 0, "rows read for the statistics are released"
    peak, loader = 0, data.train_dataloader()
    for number, _ in enumerate(loader):
        if number % 50 == 49:
            peak = max(peak, resident(file))
        if number == 600:
            break
    assert 0 < peak < 3 * most < file.stat().st_size / 2


def test_a_store_with_too_short_series_is_refused(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "a.store", {})
    writer.append(Shard(integers(4)))
    writer.finish()
    with pytest.raises(InputError, match="series 0 has 4 steps, but one window needs 7"):
        Stored(path=str(tmp_path / "a.store"), **WINDOWS).setup()


def test_convert_command_writes_and_verifies(tmp_path: Path) -> None:
    write(table(), tmp_path / "a.csv")
    keys = ["data.path=a.csv", "data.id=id", "data.time=t", "data.target=[y,z]", "conversion.part_rows=100"]
    first = forked(tmp_path, *keys, "output=a.store", command="convert")
    assert first.code == 0 and first.err == ""
    lines = first.out.splitlines()
    assert lines[0].startswith("shard 1: ") and lines[-1].startswith("Written: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.store"]
    again = forked(tmp_path, *keys, "output=a.store", command="convert")
    assert again.code == 0 and "all checksums correct" in again.out and not (tmp_path / "a.store.partial").exists()


def test_a_refused_convert_command_leaves_no_files(tmp_path: Path) -> None:
    for keys, words in (([], "output has no value: give one with output=..."), (["output=a.store"], "does not exist")):
        ended = forked(tmp_path, "data.path=a.csv", "data.target=[y]", *keys, command="convert")
        assert ended.code == 2 and words in ended.err and ended.err.count("\n") == 1
        assert list(tmp_path.iterdir()) == []


def test_store_json_records_the_source(small: Path) -> None:
    meta = json.loads((small / "store.json").read_text(encoding="utf-8"))
    assert meta["made_from"]["part_rows"] == 100
    ((path, seen),) = meta["made_from"]["files"].items()
    assert path == str(small.parent / "a.csv") and seen["bytes"] == Path(path).stat().st_size
