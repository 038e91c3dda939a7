"""Trained models on disk: tensors and primitives only, readable without Lightning and without the data."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from seqmodels.config.build import build
from seqmodels.errors import InputError
from seqmodels.report.output import write_file
from seqmodels.window import AbstractForecaster, WindowSpec

FORMAT = 1
KEY = "forecaster"  # where a checkpoint describes its model; also the prefix of the model's weights


def describe(config: dict[str, Any], spec: WindowSpec, data: dict[str, Any] | None = None) -> dict[str, Any]:
    """The entry of a checkpoint from which the model is built again: format, config and spec, as primitives.

    ``data``: what it needs of the training data to read new rows, see ``datamodules.encoder``.
    """
    return {"format": FORMAT, "model": config, "spec": spec.to_dict(), "data": data}


def write(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and primitives; the file appears as a whole."""
    content = io.BytesIO()
    torch.save(checkpoint, content)
    write_file(path, content.getvalue())


def load(path: str | Path, allow: str | Sequence[str] = ()) -> AbstractForecaster:
    """The trained model of a checkpoint, in evaluation mode on the CPU.

    Its ``spec`` describes the windows it reads; ``model(inputs).forecast`` holds forecasts in the data's own units.

    ``allow``: packages of your own whose classes the model may consist of, such as ``["mypackage"]``; a checkpoint
    cannot allow them itself.

    Raises InputError where the file is missing, damaged, or not a checkpoint of this project, where it names anything
    but models and parts of models, and where its weights do not fit or are not finite.
    """
    return restore(read(path), path, allow)


def restore(checkpoint: dict[str, Any], path: str | Path, allow: str | Sequence[str] = ()) -> AbstractForecaster:
    """The trained model of a checkpoint that was read from ``path``; see ``load``."""
    try:
        model = _build(checkpoint[KEY], allow)
        prefix = f"{KEY}."
        weights = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
        model.load_state_dict(weights)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # whatever a constructor raises for a forged or outdated description
        raise InputError(f"{path}: its model cannot be built ({type(error).__name__}: {_one_line(error)}).") from error
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise InputError(f"{path}: {name} holds weights that are not finite: the training went wrong.")
    return model.eval()


def _build(described: dict[str, Any], allow: str | Sequence[str]) -> AbstractForecaster:
    return build(described["model"], "model", allow, spec=WindowSpec.from_dict(described["spec"]))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def read(path: str | Path) -> dict[str, Any]:
    """The raw dictionary of a checkpoint; unpickles nothing but tensors and primitives.

    Raises InputError where the file is missing, is no checkpoint of this project, differs from what was saved in a
    single bit, or holds weights that are no numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such checkpoint file.")
    try:
        verify(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or foreign file
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"{path}: cannot be read as a checkpoint; it is damaged or of another origin ({reason})."
        ) from error
    described = checkpoint.get(KEY) if isinstance(checkpoint, dict) else None
    if not isinstance(described, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise InputError(
            f"{path}: is a file of tensors, but not a checkpoint of this project (there is no {KEY!r} in it)."
        )
    if described.get("format") not in range(1, FORMAT + 1):
        raise InputError(
            f"{path}: has checkpoint format {described.get('format')}, but this version reads up to {FORMAT};"
            " update first."
        )
    for name, weight in checkpoint["state_dict"].items():
        if isinstance(weight, torch.Tensor) and weight.is_floating_point() and weight.isnan().any():
            raise InputError(f"{path}: {name} holds weights that are no numbers (NaN): the training went wrong.")
    return checkpoint


def verify(path: Path) -> None:
    """Raise an error unless all content has the checksums with which torch saved it, which ``torch.load`` ignores."""
    with zipfile.ZipFile(path) as archive:
        if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
            raise ValueError("compressed content")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
