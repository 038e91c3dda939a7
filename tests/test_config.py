"""Checks of a composed config, and construction of objects from it."""

import functools
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import torch
from omegaconf import OmegaConf

from seqmodels.config import build as module
from seqmodels.config.build import ALLOWED, build, nearest, resolve
from seqmodels.config.check import accepted_arguments, check, describe_type, fits
from seqmodels.errors import InputError
from seqmodels.window import WindowSpec

LINEAR = "torch.nn.Linear"


class Base:
    def __init__(self, horizon: int, past_steps: int = 8):
        self.horizon, self.past_steps = horizon, past_steps


class Derived(Base):
    def __init__(self, path: str, scale: float = 1.0, names: list[str] | None = None, **windows: Any):
        super().__init__(horizon=windows.pop("horizon", 1), **windows)
        self.path, self.scale, self.names = path, scale, names


class Bare(torch.nn.Module):
    pass


class Holder:
    def __init__(self, make: Any = None, items: Any = (), spec: Any = None, options: Any = None):
        self.make, self.items, self.spec, self.options = make, items, spec, options


@dataclass
class Record:
    levels: int = 3


def refuse(message: str = "") -> None:
    raise InputError(message)


def stumble() -> None:
    raise ValueError("from the constructor")


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> str:
    """Allow the classes of this file to be built, and return their prefix."""
    monkeypatch.setattr(module, "ALLOWED", (*ALLOWED, f"{__name__}."))
    return __name__


def said(**nodes: Any) -> str:
    """The error message of ``check`` for the nodes."""
    with pytest.raises(InputError) as caught:
        check(OmegaConf.create(nodes), ("model", "data", "callbacks", "seed"))
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "torch.hub.load",
        "torch.nn.modules.os.system",
        "torch.nn.modules.module.weakref.ref",
        "torch.nn.modules.module.OrderedDict",
        "seqmodels.config.build.importlib.import_module",
        "seqmodels.config.build.OmegaConf",
        "seqmodels.config.build.inspect",
        "seqmodels.window.torch.load",
        "seqmodels.config.build.ALLOWED",
        "torch.nn.Module.register_buffer",
        "torch.optim",
        "torch.nnx.Linear",
        "seqmodels",
        "",
        3,
        None,
    ],
)
def test_a_name_outside_the_allowed_modules_is_an_error(name: Any) -> None:
    with pytest.raises(InputError):
        resolve(name)


def test_a_name_outside_the_allowed_modules_is_not_imported(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "intruder.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\nclass Thing: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="intruder.Thing"):
        build({"_target_": "intruder.Thing"})
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "name",
    [LINEAR, "torch.optim.Adam", "torch.optim.lr_scheduler.OneCycleLR", "seqmodels.forecaster.Forecaster"],
)
def test_an_allowed_name_resolves_to_the_class_itself(name: str) -> None:
    assert resolve(name).__name__ == name.rpartition(".")[2]


def test_an_unknown_argument_is_reported_with_key_target_and_nearest() -> None:
    text = said(model={"_target_": LINEAR, "in_features": 1, "out_featurs": 2, "spec": 1})
    assert "model.out_featurs" in text and "Linear" in text and "Nearest: out_features" in text


def test_a_misspelt_class_is_reported_with_the_nearest() -> None:
    assert "Nearest: Linear" in said(model={"_target_": "torch.nn.Liner"})


def test_an_unknown_top_level_key_is_reported_with_the_nearest() -> None:
    assert said(sed=1) == "sed: the config has no such key. Nearest: seed, data, model, callbacks."


def test_missing_argument_and_missing_value_are_named() -> None:
    assert "data.out_features is missing" in said(data={"_target_": LINEAR, "in_features": 1})
    assert "data.out_features has no value" in said(data={"_target_": LINEAR, "in_features": 1, "out_features": "???"})
    assert "seed has no value" in said(seed="???")


def test_arguments_given_later_are_not_missing() -> None:
    assert check({"data": {"_target_": LINEAR, "_partial_": True}}, ("data",)) is None
    some = {"_target_": LINEAR, "in_features": 1}
    assert check({"data": some}, ("data",), supplied={"data": ("out_features",)}) is None
    with pytest.raises(InputError, match="data.out_features is missing"):
        check({"data": some}, ("data",), supplied={"model": ("out_features",)})


def test_nested_nodes_and_lists_are_checked() -> None:
    bad = {"_target_": LINEAR, "_partial_": True, "widht": 1}
    assert "data.args[1].x.widht" in said(data={"args": [1, {"x": bad}]})


def test_unresolvable_interpolation_is_named() -> None:
    assert said(seed="${nowhere}").startswith("seed cannot be resolved")


def test_every_value_beside_callbacks_must_be_a_node_to_build() -> None:
    stop = {"_target_": LINEAR, "_partial_": True}
    assert "callbacks.early_stoping has no _target_" in said(
        callbacks={"early_stopping": stop, "early_stoping": {"a": 1}}
    )
    check({"callbacks": {"early_stopping": stop, "figures": None}}, ("callbacks",))


@pytest.mark.parametrize("value", ["five", 2.5, True, None, [1]])
def test_a_wrong_type_is_reported_with_key_value_and_expected_type(value: Any) -> None:
    text = said(data={"_target_": LINEAR, "in_features": value, "out_features": 1})
    shown = "null" if value is None else value
    assert text.startswith(f"data.in_features={shown}: expected int, got ")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "fast"])
def test_rates_that_are_not_finite_numbers_are_errors(value: Any) -> None:
    assert "data.lr=" in said(data={"_target_": "torch.optim.Adam", "_partial_": True, "lr": value})


def test_a_group_choice_written_with_a_dot_is_explained() -> None:
    node = {"_target_": "seqmodels.forecaster.Forecaster", "_partial_": True, "backbone": "lstm"}
    assert "write model/backbone=lstm" in said(model=node)
    text = said(data={"_target_": "seqmodels.forecaster.Forecaster", "_partial_": True, "initialisation": 3})
    assert text == "data.initialisation=3: expected str, got int."


def test_keywords_are_looked_up_in_the_next_constructor() -> None:
    known = accepted_arguments(Derived)
    assert set(known.arguments) == {"path", "scale", "names", "horizon", "past_steps"} and not known.open
    assert [name for name, argument in known.arguments.items() if argument.required] == ["path"]
    assert not accepted_arguments(Bare).arguments and not accepted_arguments(Bare).open
    assert accepted_arguments(functools.partial).open


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (1, int, True),
        (True, int, False),
        (1, bool, False),
        (1, float, True),
        (float("inf"), float, False),
        (float("nan"), float | None, False),
        (None, float | None, True),
        (None, float, False),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        (True, Literal[1], False),
        ([1, 2], list[int], True),
        ([1, "x"], list[int], False),
        ("ab", list[str], False),
        ([1, 2], tuple[int, int], True),
        ([1], tuple[int, int], False),
        ([1, 2, 3], tuple[int, ...], True),
        ({"a": 1}, dict[str, int], True),
        (1, torch.Tensor | float, True),
        ("x", torch.nn.Module, False),
        ("x", Any, True),
        (3, Record, True),
    ],
)
def test_values_fit_their_annotations(value: Any, annotation: Any, expected: bool) -> None:
    assert fits(value, annotation) is expected


def test_descriptions_of_annotations() -> None:
    assert describe_type(int | None) == "int or null"
    assert describe_type(list[str]) == "a list of str"
    assert describe_type(Literal["a", "b"]) == "one of a, b"


def test_nearest_lists_all_when_few_and_the_closest_when_many() -> None:
    assert nearest("lst", ["gru", "lstm"]) == " Nearest: lstm, gru."
    many = nearest("lst", ["lstm", *(f"zzz{index}" for index in range(20))])
    assert many == " Nearest: lstm."
    assert nearest("lst", []) == ""


def test_build_returns_plain_partials_and_containers(ours: str) -> None:
    part = {"_target_": f"{ours}.Record", "_partial_": True, "levels": 5}
    inner = {"_target_": f"{ours}.Holder", "make": part, "items": [part], "options": {"a": [1, {"b": part}]}}
    held = build(OmegaConf.create({"_target_": f"{ours}.Holder", "make": inner})).make
    assert type(held.items) is list and type(held.options) is dict
    for partial in (held.make, held.items[0], held.options["a"][1]["b"]):
        assert type(partial) is functools.partial
        assert partial().levels == 5


def test_build_passes_arguments_unchanged(ours: str) -> None:
    spec, record = WindowSpec(past_steps=4, horizon=2), Record()
    held = build({"_target_": f"{ours}.Holder", "spec": "???", "items": 1}, spec=spec, options=record)
    assert held.spec is spec and held.options is record and held.items == 1


def test_build_resolves_interpolation_and_keeps_none() -> None:
    root = OmegaConf.create({"width": 3, "model": {"_target_": LINEAR, "in_features": "${width}", "out_features": 2}})
    assert build(root.model).weight.shape == (2, 3)
    assert build(None) is None


def test_exceptions_of_constructors_are_not_wrapped(ours: str) -> None:
    with pytest.raises(InputError, match="^as said$"):
        build({"_target_": f"{ours}.Holder", "make": {"_target_": f"{ours}.refuse", "message": "as said"}})
    with pytest.raises(ValueError, match="^from the constructor$"):
        build({"_target_": f"{ours}.Holder", "items": [{"_target_": f"{ours}.stumble"}]})


def test_build_calls_nothing_if_a_nested_name_is_not_allowed(ours: str) -> None:
    node = {"make": {"_target_": f"{ours}.stumble"}, "items": [{"x": {"_target_": "os.getcwd"}}]}
    with pytest.raises(InputError, match=r"items\[0\].x._target_=os.getcwd"):
        build({"_target_": f"{ours}.Holder", **node})


def test_nodes_without_target_or_value_are_errors() -> None:
    with pytest.raises(InputError, match="has no _target_"):
        build({"in_features": 1})
    with pytest.raises(InputError, match="in_features has no value"):
        build({"_target_": LINEAR, "in_features": "???", "out_features": 1})
