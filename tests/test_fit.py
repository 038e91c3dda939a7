"""``seqmodels.fit`` on data frames and files, lazy imports of the package, and restored global state."""

import copy
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from command_line import ROOT, files_in, forked, metrics, python
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton

import seqmodels as sm
from seqmodels.cli.notebook import flushes_denormals
from seqmodels.errors import InputError

SHORT = {"past_steps": 28, "horizon": 7, "trainer": {"max_epochs": 1, "accelerator": "cpu"}, "logger": "none"}


@pytest.fixture(scope="module")
def rides() -> pd.DataFrame:
    """400 days of counts with a weekly season."""
    days = pd.date_range("2020-01-01", periods=400, freq="D")
    noise = np.random.default_rng(0).normal(0, 5, len(days))
    return pd.DataFrame({"day": days, "rides": 100 + 30 * (days.day_of_week < 5) + noise})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_import_loads_no_torch_and_lists_public_names(tmp_path: Path) -> None:
    code = (
        "import sys, seqmodels\n"
        "loaded = {'torch', 'lightning', 'hydra', 'omegaconf', 'polars', 'numpy'} & set(sys.modules)\n"
        "print(sorted(loaded), [name for name in seqmodels.__all__ if not hasattr(seqmodels, name)])\n"
        "print(set(seqmodels.__all__) <= set(dir(seqmodels)))"
    )
    assert python(tmp_path, "-c", code) == (0, "[] []\nTrue\n", "")
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        sm.fitt  # noqa: B018


@pytest.mark.parametrize("changes", [{"model": "gru"}, {"model": "tcn", "model.readout.corrects": "linear"}])
def test_training_in_64_bits_ends_as_any_other(rides: pd.DataFrame, place: Path, changes: dict) -> None:
    trainer = {"max_epochs": 1, "accelerator": "cpu", "precision": "64-true"}
    settings = {**SHORT, "trainer": trainer, "logger": "tensorboard", **changes}
    fitted = sm.fit(rides, target="rides", time="day", directory="run", **settings)
    assert {weight.dtype for weight in fitted.model.parameters()} == {torch.float32}
    assert sm.load("run").forecast(rides).table.equals(fitted.forecast().table)
    assert fitted.plot() is not None and (place / "run/figures/forecast_future.png").is_file()


def test_fit_equals_the_command_train(rides: pd.DataFrame, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rides.to_csv("rides.csv", index=False)
    trained = sm.fit("rides.csv", target="rides", time="day", model="gru", directory="fitted", **SHORT)
    printed = capsys.readouterr()
    overrides = ["data=csv", "data.path=rides.csv", "data.target=rides", "data.time=day", "model=gru", "logger=none",
                 "data.past_steps=28", "data.horizon=7", "trainer.max_epochs=1", "trainer.accelerator=cpu"]  # fmt: skip
    ended = forked(place, *overrides, "hydra.run.dir=commanded")
    assert (ended.code, ended.err) == (0, "") and printed.err == ""
    assert files_in(place / "fitted") == files_in(place / "commanded")
    both = [metrics(place / name) for name in ("fitted", "commanded")]
    assert both[0]["rows"] == both[1]["rows"] and both[0]["monitor"] == both[1]["monitor"]
    assert (place / "fitted/config.yaml").read_text().replace("fitted", "commanded") == (
        place / "commanded/config.yaml"
    ).read_text()
    assert (
        (place / "fitted/command.txt").read_text().startswith("seqmodels.fit('rides.csv', model='gru', target='rides'")
    )
    shown, table = ([line.rstrip() for line in text.splitlines()] for text in (ended.out, repr(trained)))
    place = shown.index(table[1]) - 1
    assert shown[place : place + len(table)] == table, "the table is printed as it is shown"
    assert trained.value == both[0]["monitor"]["value"]


def test_frames_of_three_libraries_give_the_same_model(rides: pd.DataFrame, place: Path) -> None:
    frames = [rides, pl.from_pandas(rides), pl.from_pandas(rides).to_arrow(), rides.set_index("day")]
    tables = []
    for number, frame in enumerate(frames):
        time = None if number == 3 else "day"  # an index of times is found
        trained = sm.fit(frame, target="rides", time=time, directory=f"run{number}", **SHORT)
        tables.append(trained.table.drop("row"))
        assert "data frame>" in (trained.directory / "config.yaml").read_text()
    assert all(table.equals(tables[0]) for table in tables)
    assert tables[0]["windows"].min() > 0


def test_rows_without_time_on_purpose(rides: pd.DataFrame, place: Path) -> None:
    """Else a column of times that is not named is asked for."""
    for time in (None, "none"):
        trained = sm.fit(rides, target="rides", time=time, model="naive", directory=f"{time}", **SHORT)
        assert trained.run.data.series.time is None
    with pytest.raises(InputError, match="column 'day' holds times .* set data.time=day, or data.time=none"):
        sm.fit(rides, target="rides", model="naive", **SHORT)


def test_a_trained_model_loads_in_another_process(rides: pd.DataFrame, place: Path) -> None:
    trained = sm.fit(rides, target="rides", time="day", **SHORT)
    assert trained.directory.parent == Path("runs") and trained.directory.name.endswith("_frame_auto")
    inputs = trained.model.spec.zeros()
    with torch.no_grad():
        expected = trained.model(inputs)
    loaded = sm.load(trained.checkpoint)
    with torch.no_grad():
        again = loaded(inputs)
    assert isinstance(loaded.model, sm.Forecaster) and loaded.spec == trained.spec
    assert torch.equal(getattr(again, "forecast", again), getattr(expected, "forecast", expected))


def test_a_model_without_weights_has_a_table_and_a_checkpoint_to_forecast_with(
    rides: pd.DataFrame, place: Path
) -> None:
    trained = sm.fit(rides, target="rides", time="day", model="seasonal_naive", **SHORT)
    assert trained.checkpoint is not None and trained.table["row"].to_list()[0] == "seasonal_naive"
    forecast = sm.load(trained.checkpoint).forecast(rides)
    np.testing.assert_allclose(forecast.mean[0, :, 0], rides["rides"].to_numpy()[-7:], rtol=1e-6)


def test_all_ways_to_set_a_key(rides: pd.DataFrame, place: Path) -> None:
    ways = {"model__backbone__hidden": 5, "optimizer": "sgd", "seed": 3, "split": [0.6, 0.2, 0.2],
            "batch_size": np.int64(16), "callbacks": {"figures": None}}  # fmt: skip
    trained = sm.fit(rides, target="rides", time="day", directory="run", model="lstm", **SHORT, **ways,
                     **{"model/readout": "seq_to_vector", "optimizer.lr": 0.05})  # fmt: skip
    config = (trained.directory / "config.yaml").read_text()
    for line in (
        "hidden: 5",
        "torch.optim.SGD",
        "seed: 3",
        "batch_size: 16",
        "lr: 0.05",
        "SeqToVector",
        "figures: null",
    ):
        assert line in config, line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": "ride"}, "'ride'.*rides"),
        ({"horizn": 3}, "fit has no argument horizn. Nearest: .*horizon"),
        ({"model": "lsmt"}, "model=lsmt: the group model has no option lsmt. Nearest: lstm"),
        ({"model": "lstm", "model__backbone__hiden": 3}, "model.backbone.hiden.*Nearest: hidden"),
        ({"trainer": {"max_epoch": 1}}, "trainer.max_epoch.*Nearest: max_epochs"),
        ({"horizon": "seven"}, "data.horizon=seven: expected int"),
        ({"optimizer_steps": 0}, "optimizer_steps is 0"),
        ({"horizon": object()}, "not a value that a config can hold: .*object"),
    ],
)
def test_invalid_input_is_one_sentence_and_leaves_no_files(rides, place: Path, arguments, words: str) -> None:
    settings = {"target": "rides", "time": "day", **{key: SHORT[key] for key in ("past_steps", "logger")}}
    with pytest.raises(InputError, match=words) as caught:
        sm.fit(rides, **(settings | arguments))
    assert "\n" not in str(caught.value) and files_in(place) == []


def test_an_object_of_another_type_is_an_error(place: Path) -> None:
    with pytest.raises(InputError, match="data.path is a int"):
        sm.fit(3, target="y")


def test_global_state_is_restored(rides: pd.DataFrame, place: Path) -> None:
    fit = sm.fit  # its import loads libraries that add filters of their own
    threads, filters, instances = torch.get_num_threads(), list(warnings.filters), copy.copy(Singleton._instances)
    for _ in range(2):
        fit(rides, target="rides", time="day", threads=1, model="naive", **SHORT)
        assert not GlobalHydra.instance().is_initialized() and HydraConfig.instance().cfg is None
    assert (torch.get_num_threads(), list(warnings.filters)) == (threads, filters) and not flushes_denormals()
    kept = {kind: one for kind, one in Singleton._instances.items() if kind in instances}
    assert kept == instances
    assert len(list((place / "runs").iterdir())) == 2


def test_a_notebook_trains(rides: pd.DataFrame, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rides.to_csv("rides.csv", index=False)
    cells = [
        "import pandas as pd\nimport seqmodels as sm\nframe = pd.read_csv('rides.csv')",
        f"trained = sm.fit(frame, target='rides', time='day', **{SHORT!r})",
        "trained",
        "again = sm.fit(frame, target='rides', time='day', model='naive', horizon=3)\n"
        "import json; json.dumps([trained.table.columns, again.value])",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the notebook's own libraries
        nbclient.NotebookClient(notebook, timeout=120).execute()
    shown = notebook.cells[2].outputs[0]["data"]["text/plain"]
    assert "auto" in shown and "seasonal naive" in shown and "MASE" in shown
    columns, value = json.loads(notebook.cells[3].outputs[-1]["data"]["text/plain"].strip("'"))
    assert columns[:4] == ["stage", "row", "channel", "mae"] and value > 0
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    printed = "".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs)
    assert " 1/1 " in printed and "Everything about this run is in runs" in printed
