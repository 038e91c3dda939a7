"""Checks of a composed config, and construction of objects from it."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import torch
from omegaconf import OmegaConf

from seqmodels.config.build import build
from seqmodels.config.check import accepted_arguments, check, describe_type, fits
from seqmodels.config.targets import ROOTS, nearest, place_of, resolve
from seqmodels.errors import InputError
from seqmodels.window import AbstractForecaster, WindowSpec

HERE = __name__  # the classes below stand for those of a package of the user
SIZED = f"{HERE}.Sized"


class Model(AbstractForecaster):
    def forward(self, inputs: Any, state: Any = None) -> Any: ...

    def loss(self, *arguments: Any, **others: Any) -> Any: ...


class Sized(Model):
    def __init__(self, in_features: int, out_features: int, spec: Any = None):
        super().__init__()
        self.sizes = in_features, out_features


class Record:
    def __init__(self, levels: int = 3):
        self.levels = levels


class Stumble(Record):
    def __init__(self, message: str = ""):
        raise InputError(message) if message else ValueError("from the constructor")


class Holder(Model):
    def __init__(
        self,
        make: Callable[..., Record] | None = None,
        items: Sequence[Callable[..., Record]] = (),
        spec: Any = None,
        options: dict[str, Sequence[dict[str, Record]]] | None = None,
        record: Record | None = None,
        anything: Any = None,
    ):
        super().__init__()
        self.make, self.items, self.spec, self.options, self.record = make, items, spec, options, record
        self.anything = anything


@dataclass
class Levels:
    levels: int = 3


class Base:
    def __init__(self, horizon: int, past_steps: int = 8):
        self.horizon, self.past_steps = horizon, past_steps


class Derived(Base):
    def __init__(self, path: str, scale: float = 1.0, names: list[str] | None = None, **windows: Any):
        super().__init__(horizon=windows.pop("horizon", 1), **windows)
        self.path, self.scale, self.names = path, scale, names


class Bare(torch.nn.Module):
    pass


def said(**nodes: Any) -> str:
    """The error message of ``check`` for the nodes."""
    with pytest.raises(InputError) as caught:
        check(OmegaConf.create({"allow": [HERE], **nodes}), ("model", "data", "callbacks", "seed", "allow"))
    return str(caught.value)


def test_a_public_class_resolves_to_itself_under_each_of_its_names() -> None:
    for kind, name in {
        "optimizer": "torch.optim.Adam",
        "scheduler": "torch.optim.lr_scheduler.OneCycleLR",
        "model": "seqmodels.forecaster.Forecaster",
        "callbacks": "lightning.pytorch.callbacks.EarlyStopping",
    }.items():
        found = resolve(name, ROOTS[kind])
        assert found.__name__ == name.rpartition(".")[2]
        assert resolve(f"{found.__module__}.{found.__name__}", ROOTS[kind]) is found


def test_what_an_argument_takes_follows_from_its_annotation() -> None:
    record = f"{HERE}.Record"
    for annotation, deferred in ((Record, False), (Record | None, False), (Callable[..., Record] | None, True)):
        place = place_of(annotation)
        assert place is not None and (place.base, place.deferred, place.base_class()) == (record, deferred, Record)
    for annotation in (int, Any, str | None, Callable, Callable[..., Any], list[Record], object):
        assert place_of(annotation) is None or place_of(annotation).homes == ()


def test_an_unknown_argument_is_reported_with_key_target_and_nearest() -> None:
    text = said(model={"_target_": SIZED, "in_features": 1, "out_featurs": 2})
    assert "model.out_featurs" in text and SIZED in text and "Nearest: out_features" in text


def test_a_misspelt_class_is_reported_with_the_nearest() -> None:
    assert "Nearest: Forecaster." in said(model={"_target_": "seqmodels.forecaster.Forcaster"})
    assert "Nearest: Adam," in said_of_optimizer("torch.optim.Adm")


def test_an_unknown_top_level_key_is_reported_with_the_nearest() -> None:
    assert said(sed=1) == "sed: the config has no such key. Nearest: seed, data, model, callbacks, allow."


def test_missing_argument_and_missing_value_are_named() -> None:
    assert "model.out_features is missing" in said(model={"_target_": SIZED, "in_features": 1})
    assert "model.out_features has no value" in said(model={"_target_": SIZED, "in_features": 1, "out_features": "???"})
    assert "seed has no value" in said(seed="???")


def test_arguments_given_later_are_not_missing() -> None:
    some = {"allow": [HERE], "model": {"_target_": SIZED, "in_features": 1}}
    check(some, ("model", "allow"), supplied={"model": ("out_features",)})
    with pytest.raises(InputError, match="model.out_features is missing"):
        check(some, ("model", "allow"), supplied={"data": ("out_features",)})
    check({"optimizer": {"_target_": "torch.optim.SGD", "_partial_": True}}, ("optimizer",))


def test_a_factory_is_partial_and_an_object_is_not() -> None:
    with pytest.raises(InputError, match="optimizer._partial_ must be true: the Optimizer is built later"):
        check({"optimizer": {"_target_": "torch.optim.SGD"}}, ("optimizer",))
    assert "model.make._partial_ must be true" in said(model={"_target_": f"{HERE}.Holder", "make": RECORD})
    assert "model._partial_ must be false" in said(model={"_target_": f"{HERE}.Holder", "_partial_": True})


RECORD = {"_target_": f"{HERE}.Record"}
PART = RECORD | {"_partial_": True, "levels": 5}


def test_nested_nodes_and_lists_are_checked() -> None:
    holder, bad = {"_target_": f"{HERE}.Holder"}, PART | {"levls": 1}
    assert "model.make.levls" in said(model=holder | {"make": bad})
    assert "model.items[1].levls" in said(model=holder | {"items": [PART, bad]})
    assert "model.options.a[1].b.levls" in said(model=holder | {"options": {"a": [{}, {"b": RECORD | {"levls": 1}}]}})


def test_nothing_is_built_where_no_annotation_says_what() -> None:
    holder = {"_target_": f"{HERE}.Holder"}
    for inner in (RECORD, [RECORD], {"a": [{"b": RECORD}]}):
        assert "nothing is built here" in said(model=holder | {"anything": inner})
    assert "nothing is built here" in said(seed=[RECORD])
    assert "nothing is built here" in said(allow=HERE, model=holder | {"options": {"a": RECORD}})


def test_unresolvable_interpolation_is_named() -> None:
    assert said(seed="${nowhere}").startswith("seed cannot be resolved")


def test_every_value_beside_callbacks_must_be_a_node_to_build() -> None:
    stop = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "x"}
    assert "callbacks.early_stoping has no _target_" in said(
        callbacks={"early_stopping": stop, "early_stoping": {"a": 1}}
    )
    check({"callbacks": {"early_stopping": stop, "figures": None}}, ("callbacks",))


@pytest.mark.parametrize("value", ["five", 2.5, True, None, [1]])
def test_a_wrong_type_is_reported_with_key_value_and_expected_type(value: Any) -> None:
    text = said(model={"_target_": SIZED, "in_features": value, "out_features": 1})
    shown = "null" if value is None else value
    assert text.startswith(f"model.in_features={shown}: expected int, got ")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "fast"])
def test_rates_that_are_not_finite_numbers_are_errors(value: Any) -> None:
    assert "optimizer.lr=" in said_of_optimizer("torch.optim.Adam", lr=value)


def said_of_optimizer(name: str, **arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        check({"optimizer": {"_target_": name, "_partial_": True, **arguments}}, ("optimizer",))
    return str(caught.value)


def test_a_group_choice_written_with_a_dot_is_explained() -> None:
    parts = {name: {"_target_": "seqmodels.forecaster.Forecaster"} for name in ("scaler", "readout", "head")}
    node = {"_target_": "seqmodels.forecaster.Forecaster", "backbone": "lstm", **parts}
    assert "write model/backbone=lstm" in said(model=node)
    node = {**node, "backbone": parts["head"], "head": {"_target_": "x"}, "initialisation": 3}
    assert "only a subclass of seqmodels.backbones.base.Backbone from seqmodels.backbones" in said(model=node)


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
        (3, Levels, True),
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


def test_build_returns_plain_partials_and_containers() -> None:
    options = {"a": [{"b": RECORD | {"levels": 5}}]}
    node = {"_target_": f"{HERE}.Holder", "make": PART, "items": [PART], "options": options}
    held = build(OmegaConf.create({"allow": HERE, "model": node}).model)
    assert type(held.items) is list and type(held.options) is dict
    for partial in (held.make, held.items[0]):
        assert type(partial) is functools.partial
        assert partial().levels == 5
    assert held.options["a"][0]["b"].levels == 5


def test_build_passes_arguments_unchanged() -> None:
    spec, record = WindowSpec(past_steps=4, horizon=2), Record()
    node = {"_target_": f"{HERE}.Holder", "spec": "???", "record": {"_target_": "os.getcwd"}, "anything": {"a": [1]}}
    held = build(node, "model", [HERE], spec=spec, record=record)
    assert held.spec is spec and held.record is record and held.anything == {"a": [1]}


def test_build_resolves_interpolation_and_keeps_none() -> None:
    node = {"_target_": SIZED, "in_features": "${width}", "out_features": 2}
    root = OmegaConf.create({"allow": [HERE], "width": 3, "model": node})
    assert build(root.model).sizes == (3, 2)
    assert build(None) is None


def test_exceptions_of_constructors_are_not_wrapped() -> None:
    stumble = {"_target_": f"{HERE}.Stumble"}
    with pytest.raises(InputError, match="^as said$"):
        build({"_target_": f"{HERE}.Holder", "record": stumble | {"message": "as said"}}, "model", HERE)
    with pytest.raises(ValueError, match="^from the constructor$"):
        build({"_target_": f"{HERE}.Holder", "options": {"a": [{"b": stumble}]}}, "model", HERE)


def test_build_calls_nothing_if_a_nested_name_is_not_allowed() -> None:
    node = {"record": {"_target_": f"{HERE}.Stumble"}, "options": {"a": [{"x": {"_target_": "os.getcwd"}}]}}
    with pytest.raises(InputError, match=r"options.a\[0\].x._target_=os.getcwd"):
        build({"_target_": f"{HERE}.Holder", **node}, "model", HERE)


def test_nodes_without_target_or_value_are_errors() -> None:
    with pytest.raises(InputError, match="has no _target_"):
        build({"in_features": 1}, "model")
    with pytest.raises(InputError, match="in_features has no value"):
        build({"_target_": SIZED, "in_features": "???", "out_features": 1}, "model", HERE)
    with pytest.raises(InputError, match="nothing can be built from this key"):
        build({"_target_": SIZED}, "seed", HERE)
