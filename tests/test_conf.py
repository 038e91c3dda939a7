"""All files in conf/: they compose, match the constructors they name, have their defaults, and begin with a comment."""

import re
import shlex
from collections.abc import Iterator
from inspect import Parameter
from itertools import zip_longest
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
import zoo
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from seqmodels.cli import launch  # noqa: F401  # registers the resolver of the run directory, as for every command
from seqmodels.config.build import build
from seqmodels.config.check import accepted_arguments, check
from seqmodels.errors import InputError

CONF = Path(__file__).parent.parent / "conf"
FILES = {path.relative_to(CONF).with_suffix("").as_posix(): path for path in sorted(CONF.rglob("*.yaml"))}
EXPERIMENTS = [name for name in FILES if name.startswith("experiment/")]
COMMANDS = ("train", "find_lr", "describe", "check", "convert", "forecast", "evaluate", "predict", "compare", "fill")
COMMANDS += ("generate",)
BASES = ["windows"]  # what the options of a group share, no option itself
OPTIONS = [name for name in FILES if name not in (*COMMANDS, *BASES, *EXPERIMENTS)]
GAPS = {"fill", "kriging", "kalman"}  # fill the gaps of a table
LABELS = {"nearest_neighbour", "dtw", "prior"}  # of sequences
SYMBOLS = {"symbols", "symbol_back"}  # of steps
CLASSICAL = {"auto_arima", "auto_ets", "mstl", "theta"}  # need an extra
MANDATORY = {
    "data/gaps": ["data.path=a.csv", "data.target=[y]"],
    "data/csv": ["data.path=a.csv", "data.target=[y]"],
    "data/parquet": ["data.path=a", "data.target=[y]"],
    "data/sequences": ["data.path=a.ts"],
    "data/chorales": ["data.path=a.tgz"],
    "data/store": ["data.path=a"],
    "model/custom": ["model/backbone=lstm"],
}
HEADER = ("Source", "Command", "Takes", "Gives")

# Arguments passed by the code when it builds the object, by group
PASSED_BY_CODE = {
    "model": {"spec", "features", "past_steps", "size", "parameters", "state"},
    "scheduler": {"optimizer", "total_steps"},
}
# Arguments that are in no file, and why
ABSENT = {
    ("callbacks/default", "directory"): "where figures go without TensorBoard, which the run decides",
    ("callbacks/default", "console"): "an object, only for tests",
    **{
        (f"model/backbone/{name}", "season"): "that of the data, which the forecaster passes"
        for name in ("conv_gru", "conv_lstm", "patch_gru")
    },
    ("model/scaler/auto", "corrected"): "what the readout says, which the forecaster passes",
}
# Values that differ from the defaults of the code, and why: the file is a variant, or for certain data
DIFFERENT = {
    ("model/segrnn", "channels"): "one model of all channels, as in the paper",
    ("data/waves", "split"): "the split of the textbook",
    ("data/waves", "split_by"): "whole series, as in the textbook",
    ("data/waves", "context"): "each series is one window",
    ("data/trend_season", "split"): "the split of the course",
    **{
        ("data/trend_season_week_1", key): "the series of the exercise"
        for key in ("slope", "noise", "knee", "frequency", "decay", "split")
    },
    **{
        ("data/trend_season_week_2", key): "the series of the exercise"
        for key in ("steps", "data_seed", "slope", "noise", "knee", "frequency", "decay", "tail", "split")
    },
    ("model/backbone/both_directions", "every_step"): "the purpose of this variant",
    ("model/dtw", "distance"): "the purpose of this variant",
    ("model/backbone/newest", "lags"): "the purpose of this variant",
    ("model/backbone/layer_norm_rnn", "layer_norm"): "the purpose of this variant",
    ("model/backbone/layer_norm_lstm", "layer_norm"): "the purpose of this variant",
    ("model/backbone/layer_norm_gru", "layer_norm"): "the purpose of this variant",
    **{
        ("model/backbone/conv_lstm", key): "the variant of the course, without striding"
        for key in ("filters", "kernel", "stride", "padding", "activation")
    },
    **{
        ("model/backbone/patch_gru", key): "the purpose of this variant" for key in ("filters", "kernel", "stride")
    },
    ("model/head/mae", "loss"): "the purpose of this variant",
    ("model/head/smoothed_classes", "label_smoothing"): "the purpose of this variant",
    ("model/scaler/season", "centre"): "the purpose of this variant",
    ("model/scaler/season", "scale"): "the purpose of this variant",
}  # fmt: skip


@pytest.fixture(scope="module")
def composed() -> Iterator[Any]:
    """A function that composes ``train.yaml`` with overrides as a command does, including Hydra's own keys."""
    with initialize_config_dir(str(CONF), job_name="train", version_base="1.3"):

        def make(*overrides: str) -> DictConfig:
            config = compose("train", overrides=list(overrides), return_hydra_config=True)
            with read_write(config.hydra), open_dict(config.hydra):
                config.hydra.runtime.output_dir = "."
            HydraConfig.instance().set_config(config)
            return config

        yield make
    HydraConfig.instance().cfg = None


def header(name: str) -> dict[str, str]:
    """Comments of the form "# Key: value" of a file."""
    comments = [line for line in FILES[name].read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    return {key: value for key, colon, value in (line[2:].partition(": ") for line in comments) if colon}


def load(name: str) -> Any:
    """Content of a file, without resolving interpolations."""
    return OmegaConf.to_container(OmegaConf.load(FILES[name]), resolve=False)


def with_bases(name: str) -> Any:
    """The file with the keys and the choices of the files that it extends."""
    content: dict[str, Any] = {"defaults": {}}
    own = load(name)
    for entry in own.pop("defaults", []):
        if isinstance(entry, dict):
            chosen = {key.removeprefix("override "): option for key, option in entry.items() if "@_global_" not in key}
            content["defaults"] |= chosen
        elif entry != "_self_":
            base = entry.removeprefix("/") if entry.startswith("/") else f"{name.rpartition('/')[0]}/{entry}"
            inherited = with_bases(base.removesuffix("@_here_"))
            content = {**content, **inherited, "defaults": content["defaults"] | inherited["defaults"]}
    return content | own


def load_with_defaults(name: str) -> Any:
    """Content of a file with its defaults list, whose keys have the form /group@key, inserted."""
    content = load(name)
    for entry in content.pop("defaults", []):
        for place, option in entry.items():
            group, _, key = place.rpartition("@")
            inserted = load_with_defaults(f"{group.removeprefix('/')}/{option}")
            content[key] = inserted | content.get(key, {})
    return content


def nodes(name: str) -> list[tuple[dict[str, Any], set[str]]]:
    """Nodes of a file that build objects of this project, each with the keys that come from other groups."""
    extends = name.startswith(("data/", "model/"))
    content = with_bases(name) if extends else load(name)
    choices = content.get("defaults", {}) if extends else {}
    selected = {key.rpartition("@")[2] for key in choices}
    found = [content, *(value for value in content.values() if isinstance(value, dict))]
    ours = [node for node in found if str(node.get("_target_", "")).startswith(("seqmodels.", "datamodules."))]
    return [(node, selected) for node in ours]


def options(group: str) -> list[str]:
    """Names of the files in a group, without subgroups."""
    return [name.rpartition("/")[2] for name in FILES if name.rpartition("/")[0] == group]


def test_all_files_are_tested() -> None:
    assert len(FILES) == len(list(CONF.rglob("*.yaml"))) > 40
    assert len(OPTIONS) + len(EXPERIMENTS) + len(COMMANDS) + len(BASES) == len(FILES)
    assert [path for path in CONF.rglob("*") if path.is_file() and path.suffix != ".yaml"] == []


def test_every_option_of_every_group_fits_its_constructor(composed) -> None:
    """Composes as few configs as possible that contain every option once, as each takes half a second."""
    known = [*composed(), "debug", "experiment"]
    bound = []
    for names in [*batches(parts=False), *batches(parts=True)]:
        chosen = ["=".join(name.rsplit("/", 1)) for name in names]
        config = composed(*chosen, *(value for name in names for value in MANDATORY.get(name, [])))
        check(config, known)
        for name in names:
            node = OmegaConf.select(config, name.rpartition("/")[0].replace("/", "."))
            target = with_bases(name).get("_target_") if name.startswith(("data/", "model/")) else None
            assert target is None or node["_target_"] == target
        bound += names
    assert sorted(bound) == OPTIONS


def batches(parts: bool) -> list[list[str]]:
    """Lists with one option per group that cover all options: of the parts of a model, or of all other groups."""
    groups = sorted({name.rpartition("/")[0] for name in OPTIONS})
    chosen = [group for group in groups if group.startswith("model/") == parts]
    columns: list[list[str | None]] = [[f"{group}/{option}" for option in options(group)] for group in chosen]
    columns = [
        [None, *column] if (column[0] or "").startswith("debug/") else column for column in columns
    ]  # overfit: data=panel
    return [[name for name in row if name is not None] for row in zip_longest(*columns)]


def test_the_command_of_every_experiment_composes(composed) -> None:
    known = [*composed(), "debug", "experiment"]
    for name in EXPERIMENTS:
        _, _, *overrides = shlex.split(header(name)["Command"])
        config = composed(*overrides)
        check(config, known)
        assert config.hydra.runtime.choices.experiment == name.removeprefix("experiment/")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_header_of_every_experiment_is_complete(name: str) -> None:
    lines = header(name)
    assert [key for key in HEADER if not lines.get(key)] == [], "lines missing from the header"
    command = shlex.split(lines["Command"])
    assert command[:3] == ["python", "train.py", name.replace("/", "=", 1)]
    assert re.search(r"\d", lines["Takes"]) and re.search(r"\d", lines["Gives"]), "both contain a number"


@pytest.mark.parametrize("name", FILES)
def test_every_file_begins_with_a_comment(name: str) -> None:
    first, content = FILES[name].read_text(encoding="utf-8").splitlines()[0], load(name)
    own_name = str(content.get("_target_", "")).rpartition(".")[2].lower() == name.rpartition("/")[2].replace("_", "")
    assert first.startswith("# ") or own_name, "the file begins with a comment, unless its name is that of its class"


@pytest.mark.parametrize("name", [name for name in (*OPTIONS, *COMMANDS[1:]) if nodes(name)])
def test_files_and_constructors_have_the_same_arguments_and_defaults(name: str) -> None:
    for node, selected in nodes(name):
        arguments = accepted_arguments(resolve_name(node["_target_"])).arguments
        given = {key for key in node if not key.startswith("_") and key != "defaults"} | selected
        by_code = PASSED_BY_CODE.get(name.partition("/")[0], set())
        absent = {argument for file, argument in ABSENT if file == name}
        assert set(arguments) - by_code - absent == given
        for key in given - selected:
            value, default = node[key], arguments[key].default
            free = default is Parameter.empty or (name, key) in DIFFERENT or str(value).startswith("${")
            if not free:
                default = list(default) if isinstance(default, tuple) else default
                assert (key, value) == (key, default)


def test_all_listed_exceptions_are_needed() -> None:
    for name, argument in ABSENT:
        targets = [resolve_name(node["_target_"]) for node, _ in nodes(name)]
        assert any(argument in accepted_arguments(target).arguments for target in targets)
    for name, key in DIFFERENT:
        ((node, _),) = nodes(name)
        default = accepted_arguments(resolve_name(node["_target_"])).arguments[key].default
        assert node[key] != (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize("preset", options("model"))
def test_model_presets_only_select_parts_and_can_be_built(composed, preset: str) -> None:
    """Otherwise, replacing a part would leave keys of the old part behind."""
    content = with_bases(f"model/{preset}")
    if preset in CLASSICAL:
        pytest.importorskip("statsforecast", reason="the extra classical is not installed")
    config = OmegaConf.to_container(
        composed(f"model={preset}", *MANDATORY.get(f"model/{preset}", [])).model, resolve=True
    )
    selected = content.pop("defaults")
    assert not set(selected) & set(content)
    if preset == "custom":
        selected["backbone"] = "lstm"
    parts = {group: load_with_defaults(f"model/{group}/{option}") for group, option in selected.items()}
    if preset == "auto":  # its recipe sets one key, which all readouts have
        assert all("corrects" in load_with_defaults(f"model/readout/{one}") for one in options("model/readout"))
        parts["readout"]["corrects"] = "auto"
    assert config == content | parts
    labelled = "classes" in selected.get("head", "") or preset in LABELS
    spec = zoo.SYMBOLS if preset in SYMBOLS else zoo.LABELLED if labelled else zoo.GAPS if preset in GAPS else zoo.SPEC
    assert build(config, "model", spec=spec)(zoo.window(spec, batch=2).inputs).forecast.shape[0] == 2


def test_the_backbone_after_a_convolution_can_be_selected_and_configured(composed) -> None:
    group = "model/backbone@model.backbone.recurrent"
    config = composed("model=conv_gru", f"{group}=lstm", "model.backbone.recurrent.hidden=8")
    check(config, [*composed(), "debug", "experiment"])
    backbone = build(config.model, spec=zoo.SPEC).backbone
    assert type(backbone.recurrent).__name__ == "Lstm" and backbone.size == 8 and backbone.stride == 2
    config = composed("model=conv_lstm", f"{group}=conv_gru", f"{group}.recurrent=mlp")
    check(config, [*composed(), "debug", "experiment"])
    backbone = build(config.model, spec=zoo.SPEC).backbone
    assert type(backbone.recurrent.recurrent).__name__ == "Mlp" and backbone.stride == 2
    config = composed("model=conv_gru", "+model.backbone.recurrent.hiden=8")
    with pytest.raises(InputError, match=r"model\.backbone\.recurrent\.hiden: .*Nearest: hidden"):
        check(config, [*composed(), "debug", "experiment"])


def test_all_combinations_of_parts_forecast_or_are_refused() -> None:
    """All combinations of backbone, readout and scaler."""
    built = 0
    for backbone in options("model/backbone"):
        for readout in options("model/readout"):
            for scaler in options("model/scaler"):
                chosen = {"backbone": backbone, "readout": readout, "scaler": scaler, "head": "point"}
                model = {part: load_with_defaults(f"model/{part}/{option}") for part, option in chosen.items()}
                build_and_forecast({"_target_": "seqmodels.forecaster.Forecaster", **model})
                built += 1
    assert built >= 7 * 2 * 5


def build_and_forecast(model: dict[str, Any]) -> None:
    """Forecast a window of the zoo's spec, or check the error message for parts that do not fit together."""
    last_step = {"readout": load_with_defaults("model/readout/seq_to_vector")}
    backbone = build(model | last_step, "model", spec=zoo.SPEC).backbone
    readout, reason = model["readout"]["_target_"].rpartition(".")[2], ""
    if readout in ("SeqToSeq", "Iterated") and not backbone.causal:
        reason = "sees the future"
    elif readout == "InPlace":
        reason = "estimates hidden values"
    elif readout == "Pooled" and len(range(backbone.offset, zoo.SPEC.past_steps, backbone.stride)) == 1:
        reason = "gives only those of the last step"
    elif readout == "Iterated" and backbone.stride > 1:
        reason = f"features every {backbone.stride} steps"
    if reason:
        with pytest.raises(InputError, match=reason):
            build(model, "model", spec=zoo.SPEC)
        return
    forecaster = build(model, "model", spec=zoo.SPEC).eval()
    with torch.no_grad():
        forecast = forecaster(zoo.window(zoo.SPEC, batch=2).inputs).forecast
    origins = len(forecaster.origins.of(zoo.SPEC.past_steps))
    parameters = forecaster.head.parameters_per_value
    assert forecast.shape == (2, origins, zoo.SPEC.horizon, len(zoo.SPEC.channels), parameters)
    assert torch.isfinite(forecast).all()


@pytest.mark.parametrize("head", options("model/head"))
def test_every_head_can_be_built(head: str) -> None:
    readout = "seq_to_vector" if "classes" in head else "seq_to_seq"
    parts = {"backbone": "lstm", "readout": readout, "scaler": "standard", "head": head}
    model = {part: load_with_defaults(f"model/{part}/{option}") for part, option in parts.items()}
    config = {"_target_": "seqmodels.forecaster.Forecaster", **model}
    if "classes" in head:
        forecaster = build(config, "model", spec=zoo.LABELLED)
        assert forecaster(zoo.window(zoo.LABELLED, batch=2).inputs).forecast.shape == (2, 1, 1, 2, 3)
    else:
        build_and_forecast(config)
