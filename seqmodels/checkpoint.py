"""Trained models on disk: tensors and primitives only, readable without Lightning and without the data."""

from pathlib import Path
from typing import Any

import torch

from seqmodels.config.build import build
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.window import WindowSpec

FORMAT = 1
# Names in checkpoints of earlier versions, of a module or of one class, and what they are called today.
ALIASES = {
    "seqmodels.heads": "seqmodels.heads.point",
    "seqmodels.backbones.linear": "seqmodels.backbones.mlp",
    "seqmodels.backbones.convolutional": "seqmodels.backbones.conv_front",
    "seqmodels.backbones.stack": "seqmodels.backbones.causal_conv",
    "seqmodels.backbones.recurrent_layers": "seqmodels.backbones.recurrent",
    "seqmodels.scalers.affine.automatic": "seqmodels.scalers.affine.choose_scaler",
    "seqmodels.scalers.affine.Identity": "seqmodels.scalers.affine.IdentityScaler",
    "seqmodels.scalers.affine.Standard": "seqmodels.scalers.affine.StandardScaler",
    "seqmodels.scalers.affine.Window": "seqmodels.scalers.affine.WindowScaler",
    "seqmodels.scalers.difference.Difference": "seqmodels.scalers.difference.DifferenceScaler",
}
KEY = "forecaster"  # where a checkpoint describes its model; also the prefix of the model's weights


def describe(config: dict[str, Any], spec: WindowSpec) -> dict[str, Any]:
    """The entry of a checkpoint from which the model is built again: format, config and spec, as primitives."""
    return {"format": FORMAT, "model": config, "spec": spec.to_dict()}


def load(path: str | Path) -> Forecaster:
    """The trained model of a checkpoint, in evaluation mode on the CPU.

    Its ``spec`` describes the windows it reads; ``model(inputs).forecast`` holds forecasts in the data's own units.

    Raises InputError where the file is missing, damaged, or not a checkpoint of this project.
    """
    checkpoint = read(path)
    described = checkpoint[KEY]
    model = build(update_names(described["model"]), spec=WindowSpec.from_dict(described["spec"]))
    prefix = f"{KEY}."
    weights = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    model.load_state_dict(weights)
    return model.eval()


def update_names(config: Any) -> Any:
    """A model configuration with today's name for every ``_target_``."""
    if isinstance(config, dict):
        updated = {key: update_names(value) for key, value in config.items()}
        if "_target_" in config:
            updated["_target_"] = current_name(config["_target_"])
        return updated
    return [update_names(value) for value in config] if isinstance(config, list) else config


def current_name(name: Any) -> Any:
    """Today's name of a class that a checkpoint names."""
    if not isinstance(name, str):
        return name
    module, _, attribute = name.rpartition(".")
    return ALIASES.get(name, f"{ALIASES[module]}.{attribute}" if module in ALIASES else name)


def read(path: str | Path) -> dict[str, Any]:
    """The raw dictionary of a checkpoint; unpickles nothing but tensors and primitives."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such checkpoint file.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or foreign file
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"{path}: cannot be read as a checkpoint; it is damaged or of another origin ({reason})."
        ) from error
    if not isinstance(checkpoint, dict) or KEY not in checkpoint or "state_dict" not in checkpoint:
        raise InputError(
            f"{path}: is a file of tensors, but not a checkpoint of this project (there is no {KEY!r} in it)."
        )
    if checkpoint[KEY]["format"] > FORMAT:
        raise InputError(
            f"{path}: has checkpoint format {checkpoint[KEY]['format']}, but this version reads up to {FORMAT};"
            " update first."
        )
    return checkpoint
