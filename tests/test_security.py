"""Forged checkpoints and configs: nothing is imported, executed or written, whatever a name is and where it stands."""

import codecs
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch.cli  # noqa: F401  # gadgets that are loaded already can be reached without an import
import lightning.pytorch.core.saving  # noqa: F401
import pytest
import torch
import torchmetrics  # noqa: F401
import zoo

import datamodules.store.convert  # noqa: F401  # modules of this project may be imported: they only define things
import datamodules.table  # noqa: F401
import seqmodels.training.callbacks.scalars  # noqa: F401
import seqmodels.training.schedules  # noqa: F401
from seqmodels.checkpoint import load
from seqmodels.config.build import build
from seqmodels.config.check import check
from seqmodels.config.targets import ROOTS, allowed_packages, resolve
from seqmodels.errors import InputError

# What an attack needs, as the interpreter reports it; reading files is not among it.
EVENTS = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.mkdir", "os.remove", "os.rename",
          "os.putenv", "pty.spawn", "socket.connect", "exec", "compile", "ctypes.dlopen", "import")  # fmt: skip
COMMAND = "touch forged"
YAML = {"config_yaml": "forged", "hparams": {"a": 1}}

# Names, with the arguments that would do harm.
GADGETS: dict[str, tuple[Any, dict[str, Any]]] = {
    "the class of a command": (
        "lightning.pytorch.cli.instantiate_class",
        {"args": [], "init": {"class_path": "os.system", "init_args": {"command": COMMAND}}},
    ),
    "writes a file": ("lightning.pytorch.core.saving.save_hparams_to_yaml", YAML),
    "writes a table": ("lightning.pytorch.core.saving.save_hparams_to_tags_csv", {"tags_csv": "forged", "hparams": {}}),
    "unpickles a file": ("lightning.pytorch.core.saving.pl_load", {"path_or_url": "evil.pt", "weights_only": False}),
    "a saved config": ("lightning.pytorch.cli.SaveConfigCallback", {"parser": 1, "config": 1}),
    "a command line": ("lightning.pytorch.cli.LightningCLI", {"model_class": None, "args": ["fit"]}),
    "a shell": ("os.system", {"command": COMMAND}),
    "the shell's other name": ("posix.system", {"command": COMMAND}),
    "a process": ("subprocess.Popen", {"args": COMMAND, "shell": True}),
    "a process by a module of ours": ("seqmodels.cli.environment.subprocess.run", {"args": COMMAND, "shell": True}),
    "a builtin": ("builtins.exec", {"source": "open('forged', 'w')"}),
    "an import": ("importlib.import_module", {"name": "this"}),
    "an import by a module of ours": ("seqmodels.config.targets.import_module", {"name": "this", "place": ""}),
    "a module of a module": ("seqmodels.config.targets.importlib.import_module", {"name": "this"}),
    "a script": ("runpy.run_path", {"path_name": "evil.py"}),
    "a module that runs": ("this.s", {}),
    "a module of ours that was not loaded": ("seqmodels.__main__.main", {}),
    "a command of ours": ("seqmodels.cli.main.main", {"arguments": ["new", "model/lstm"]}),
    "a file by a function of ours": ("seqmodels.report.output.write_file", {"path": "forged", "content": "x"}),
    "a directory by a class of ours": ("datamodules.store.writer.StoreWriter", {"path": "forged", "made_from": {}}),
    "a checkpoint in a checkpoint": ("seqmodels.checkpoint.load", {"path": "evil.pt"}),
    "a function on functions": ("seqmodels.backbones.base.tree_map", {"function": "os.system", "state": COMMAND}),
    "torch.load": ("torch.load", {"f": "evil.pt", "weights_only": False}),
    "torch.load by another name": ("torch.serialization.load", {"f": "evil.pt", "weights_only": False}),
    "a function of a module of torch.nn": ("torch.nn.modules.module.torch.load", {"f": "evil.pt"}),
    "torch.hub": ("torch.hub.load", {"repo_or_dir": ".", "source": "local", "model": "x"}),
    "an extension": ("torch.utils.cpp_extension.load", {"name": "x", "sources": ["evil.cpp"]}),
    "an optimizer's function": ("torch.optim.swa_utils.update_bn", {"loader": [], "model": None}),
    "an averaged model": ("torch.optim.swa_utils.AveragedModel", {"model": None}),
    "a scheduler's module": ("torch.optim.lr_scheduler.warnings.warn", {"message": "x"}),
    "a metric's function": ("torchmetrics.utilities.imports.RequirementCache", {"requirement": "this"}),
    "a metric's own state": ("torchmetrics.Metric.load_state_dict", {"state_dict": {}}),
    "a module": ("torch.nn.Module", {}),
    "an abstract class": ("seqmodels.backbones.base.Backbone", {}),
    "a method": ("seqmodels.forecaster.Forecaster.load_state_dict", {"state_dict": {}}),
    "a private attribute": ("seqmodels.heads.point.__loader__", {"path": "evil.py"}),
    "a private name on the way": ("seqmodels.heads.point.Point.__init__.__globals__", {}),
    "a private class": ("lightning.pytorch.callbacks._hidden", {}),
    "a private module": ("torch._dynamo.config", {}),
    "imported names": ("seqmodels.heads.point.torch", {}),
    "a class of another kind": ("seqmodels.window.WindowSpec", {"past_steps": 1, "horizon": 1}),
    "the builder itself": ("seqmodels.config.build.build", {"node": {"_target_": "os.system"}}),
    "hydra": ("hydra.utils.instantiate", {"config": {"_target_": "os.system", "command": COMMAND}}),
    "partial": ("functools.partial", {"func": "os.system"}),
    "wide letters": ("ｓeqmodels.heads.point.Point", {}),
    "a letter of another alphabet": ("sеqmodels.heads.point.Point", {}),
    "white space": (" seqmodels.heads.point.Point", {}),
    "a line break": ("seqmodels.heads.point.Point\n", {}),
    "two dots": ("seqmodels.heads..point.Point", {}),
    "a relative name": (".point.Point", {}),
    "no module": ("Point", {}),
    "nothing": ("", {}),
    "a number": (3, {}),
    "null": (None, {}),
    "bytes": (b"os.system", {"command": COMMAND}),
    "a list": (["os.system"], {"command": COMMAND}),
    "a mapping": ({"_target_": "os.system", "command": COMMAND}, {}),
}  # fmt: skip
POINT = {"_target_": "seqmodels.heads.point.Point"}
PARTS: dict[str, Any] = {
    "scaler": {"_target_": "seqmodels.scalers.affine.StandardScaler", "_partial_": True},
    "backbone": {"_target_": "seqmodels.backbones.recurrent.Gru", "_partial_": True, "hidden": 3},
    "readout": {"_target_": "seqmodels.readouts.direct.SeqToSeq", "_partial_": True},
    "head": POINT,
}
MODEL = {"_target_": "seqmodels.forecaster.Forecaster", **PARTS}
watched: list[tuple[str, Any]] | None = None


def watch(event: str, arguments: Any) -> None:
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if watched is not None and (writes or event.startswith(EVENTS)):
        watched.append((event, arguments))


@pytest.fixture(scope="module")
def hook() -> Iterator[None]:
    codecs.lookup("latin-1")  # that of pickled bytes, which is imported when it is first used
    sys.addaudithook(watch)  # for good, so that it does nothing between the tests
    yield


@pytest.fixture
def harmless(hook: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], str]:
    """Run a function that must refuse its input in one sentence, without any harm, and return what it said."""
    (tmp_path / "evil.py").write_text("open('forged', 'w')")
    torch.save({"a": torch.zeros(1)}, tmp_path / "evil.pt")
    monkeypatch.chdir(tmp_path)

    def run(function: Callable[[], Any]) -> str:
        global watched
        before, files, watched = set(sys.modules), sorted(tmp_path.iterdir()), []
        try:
            with pytest.raises(InputError) as caught:
                function()
        finally:
            seen, watched = watched, None
        assert seen == [] and sorted(tmp_path.iterdir()) == files and set(sys.modules) == before
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


def forge(path: Path, model: Any, **others: Any) -> Path:
    described = {"format": 1, "model": model, "spec": zoo.SPEC.to_dict(), **others}
    torch.save({"forecaster": described, "state_dict": {}}, path)
    return path


def at_each_place(node: Any) -> dict[str, Any]:
    """Model configs with the node at every kind of place."""
    backbone, head = PARTS["backbone"], PARTS["head"]
    factory = node | {"_partial_": True}
    decoder = {"_target_": "seqmodels.readouts.decoder.EncoderDecoder", "_partial_": True, "decoder": factory}
    front = {"_target_": "seqmodels.backbones.conv_front.Convolutional", "_partial_": True, "recurrent": factory}
    return {
        "the model": node,
        "an object": MODEL | {"head": node},
        "a factory": MODEL | {"backbone": factory},
        "a scaler": MODEL | {"scaler": factory},
        "a factory in a factory": MODEL | {"backbone": front | {"recurrent": front}},
        "a decoder": MODEL | {"readout": decoder},
        "a number": MODEL | {"backbone": backbone | {"hidden": node}},
        "a text": MODEL | {"initialisation": node},
        "a list": MODEL | {"head": head | {"lead_weights": [1.0, node, 1.0]}},
        "a list in a list": MODEL | {"backbone": backbone | {"hidden": [[{"a": node}]]}},
        "an argument that the code gives": MODEL | {"scaler": PARTS["scaler"] | {"spec": node}},
        "an argument that does not exist": MODEL | {"hook": node},
        "arguments by position": MODEL | {"head": head | {"_args_": [node]}},
        "a target": MODEL | {"head": {"_target_": node}},
        "a flag": MODEL | {"head": head | {"_partial_": node}},
    }


@pytest.mark.parametrize("name", GADGETS)
def test_a_forged_checkpoint_does_nothing(name: str, harmless: Any, tmp_path: Path) -> None:
    target, arguments = GADGETS[name]
    forged = [forge(tmp_path / f"{i}.ckpt", model) for i, model in
              enumerate(at_each_place({"_target_": target, **arguments}).values())]  # fmt: skip
    for path in forged:
        assert harmless(lambda path=path: load(path)).startswith(f"{path}: ")
        harmless(lambda path=path: load(path, allow=["zoo"]))


@pytest.mark.parametrize("name", GADGETS)
@pytest.mark.parametrize("group", ROOTS)
def test_a_forged_config_does_nothing(name: str, group: str, harmless: Any) -> None:
    """In every group, at its top, below a name, and as an argument of an honest class."""
    target, arguments = GADGETS[name]
    node = {"_target_": target, **arguments}
    honest = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "x"}
    for forged in (node, node | {"_partial_": True}):
        inner = {"x": forged} if group in ("callbacks", "logger") else forged
        harmless(lambda inner=inner: check({group: inner}, (group,)))
        harmless(lambda forged=forged: build(forged, group))
    for argument in ({"patience": node}, {"strict": [node]}, {"_args_": [node]}, {"monitor": {"a": node}}):
        harmless(lambda argument=argument: check({"callbacks": {"x": honest | argument}}, ("callbacks",)))
    harmless(lambda: check({"seed": node}, ("seed",)))
    harmless(lambda: check({"seed": [[{"a": node}]]}, ("seed",)))


CALLBACKS = "lightning.pytorch.callbacks"


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("model", f"{CALLBACKS}.ModelCheckpoint"),
        ("model", "lightning.pytorch.loggers.CSVLogger"),
        ("model", "datamodules.table.Table"),
        ("model", "seqmodels.heads.point.Point"),
        ("model", "torch.nn.Linear"),
        ("callbacks", "lightning.pytorch.Trainer"),
        ("callbacks", f"{CALLBACKS}.Callback.setup"),
        ("callbacks", f"{CALLBACKS}.model_checkpoint.ModelCheckpoint.from_config"),
        ("callbacks", f"{CALLBACKS}.lambda_function.Callable"),
        ("callbacks", "lightning.pytorch.callbacks.finetuning.multiplicative"),
        ("callbacks", "seqmodels.training.callbacks.scalars.log_config"),
        ("logger", f"{CALLBACKS}.EarlyStopping"),
        ("optimizer", "torch.optim.lr_scheduler.StepLR"),
        ("optimizer", "torch.optim.Optimizer.load_state_dict"),
        ("optimizer", "torch.optim.swap_in_optimizer_params_and_state"),
        ("optimizer", "torch.optim.adam.adam"),
        ("scheduler", "seqmodels.training.schedules.count_warm_up_steps"),
        ("scheduler", "torch.optim.SGD"),
        ("data", "lightning.pytorch.LightningDataModule"),
        ("data", "datamodules.base.WindowDataModule"),
        ("data", "datamodules.store.convert.Conversion"),
        ("trainer", "lightning.pytorch.LightningModule"),
        ("trainer", "lightning.pytorch.seed_everything"),
    ],
)
def test_classes_of_another_kind_and_functions_are_refused(group: str, name: str, harmless: Any) -> None:
    harmless(lambda: resolve(name, ROOTS[group]))


def test_the_honest_configs_around_the_forged_ones_are_built(tmp_path: Path) -> None:
    """Otherwise the refusals above could have another reason."""
    model = build(MODEL, "model", spec=zoo.SPEC)
    weights = {f"forecaster.{name}": weight for name, weight in model.state_dict().items()}
    torch.save(
        {"forecaster": {"format": 1, "model": MODEL, "spec": zoo.SPEC.to_dict()}, "state_dict": weights}, tmp_path / "a"
    )
    inputs = zoo.window(zoo.SPEC).inputs
    torch.testing.assert_close(load(tmp_path / "a")(inputs).forecast, model.eval()(inputs).forecast)
    check({"callbacks": {"x": {"_target_": f"{CALLBACKS}.EarlyStopping", "monitor": "x"}}}, ("callbacks",))


def own_head(path: Path, **described: Any) -> Path:
    """A checkpoint whose head is a class of ``zoo``, which stands for a package of the user."""
    model = MODEL | {"head": {"_target_": "zoo.Normal"}}
    built = build(model, "model", "zoo", spec=zoo.SPEC)
    weights = {f"forecaster.{name}": weight for name, weight in built.state_dict().items()}
    spec = zoo.SPEC.to_dict()
    torch.save({"forecaster": {"format": 1, "model": model, "spec": spec, **described}, "state_dict": weights}, path)
    return path


def test_a_checkpoint_with_own_classes_loads_only_with_leave(tmp_path: Path) -> None:
    path = own_head(tmp_path / "own.ckpt")
    for allow in ("zoo", ["zoo"], ("other", "zoo")[1:]):
        assert type(load(path, allow=allow).head) is zoo.Normal
    with pytest.raises(InputError, match=r"own.ckpt: model.head._target_=zoo.Normal: only .* give allow=\[zoo\]"):
        load(path)


def test_a_checkpoint_cannot_give_leave_itself(tmp_path: Path, harmless: Any) -> None:
    own = MODEL | {"allow": ["zoo"], "head": {"_target_": "zoo.Normal"}}
    forged = [own_head(tmp_path / f"{key}.ckpt", **{key: ["zoo"]}) for key in ("allow", "_allow_")]
    for path in (*forged, forge(tmp_path / "within.ckpt", own)):
        harmless(lambda path=path: load(path))


def test_leave_for_a_package_is_no_leave_for_functions_modules_and_other_classes(harmless: Any) -> None:
    others = "forecaster window SPEC torch.load math.sqrt Statistics HEADS partial Head __loader__ torch.nn.Linear"
    for name in (*(f"zoo.{other}" for other in others.split()), "zoology.Normal"):
        harmless(lambda name=name: build(MODEL | {"head": {"_target_": name}}, "model", "zoo", spec=zoo.SPEC))


@pytest.mark.parametrize("allow", ["my-package", "my package", "../evil", "", ".", ["evil", 3], [["a"]], [None]])
def test_packages_have_names(allow: Any, harmless: Any) -> None:
    assert "allow=[mypackage]" in harmless(lambda: allowed_packages(allow))


def test_a_package_that_is_not_there_is_named_with_the_directory(harmless: Any, tmp_path: Path) -> None:
    said = harmless(lambda: allowed_packages(["not_there"]))
    assert said.startswith("allow=[not_there]: there is no package not_there") and str(tmp_path) in said
