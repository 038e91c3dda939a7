"""Settings that decide what training does: kept in checkpoints, and compared when a run is resumed."""

from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from omegaconf import DictConfig, OmegaConf

from seqmodels.checkpoint import read
from seqmodels.cli.secrets import mask_secrets
from seqmodels.config.check import accepted_arguments
from seqmodels.config.targets import current_name
from seqmodels.errors import InputError
from seqmodels.report.output import echo
from seqmodels.training.callbacks.scalars import flatten
from seqmodels.training.module import RUN
from seqmodels.training.run import LAST, Run, check_weights, count_optimizer_steps, planned_steps

GROUPS = ("seed", "monitor", "optimizer", "scheduler", "trainer", "data", "model", "callbacks")
TRAINER = ("precision", "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches",
           "check_val_every_n_epoch", "val_check_interval", "limit_train_batches", "limit_val_batches",
           "overfit_batches")  # fmt: skip
FREE = {"data": ("path", "evaluation_batch_size", "verify")}  # the content of the data is compared instead of its path
WEIGHTS = ("ema", "WeightAveraging", "StochasticWeightAveraging", "GradientAccumulation")  # callbacks that train
SHOWN = 3  # differences in a message


def decisive_settings(config: DictConfig) -> dict[str, Any]:
    """Settings that a resumed run must share with the one it continues, as plain values by their full keys.

    Not among them: length of training, threads, device, loggers, and callbacks that only watch.
    """
    plain: Any = mask_secrets(OmegaConf.to_container(config, resolve=True))
    chosen = {group: plain.get(group) for group in GROUPS}
    chosen["trainer"] = {name: value for name, value in chosen["trainer"].items() if name in TRAINER}
    chosen["callbacks"] = {
        name: node
        for name, node in chosen["callbacks"].items()
        if node and any(part in str(node["_target_"]) for part in WEIGHTS)
    }
    if plain.get("ensemble", 1) != 1:  # else as in checkpoints of versions without it
        chosen |= {name: plain[name] for name in ("ensemble", "combine")}
    for group, names in FREE.items():
        chosen[group] = {name: value for name, value in chosen[group].items() if name not in names}
    return flatten(chosen)


def check_resume(run: Run) -> None:
    """Raise InputError unless the run, if it resumes from a checkpoint, continues what the checkpoint began.

    Prints a note for a checkpoint of an earlier version, which holds less that can be compared.
    """
    path, restart = run.plan.ckpt_path, run.plan.resume_schedule == "restart"
    if path is None:
        return
    checkpoint = read(path)
    before, now = checkpoint.get(RUN), run.module.recorded
    if before is None:
        echo(f"{path} is of an earlier version: only the model and the scale of its data can be compared.")
    else:
        _check_settings(path, _rename(before["settings"]), _rename(now["settings"]), restart)
        _check_data(path, before["data"], now["data"])
    check_weights(path, checkpoint, run.module)
    _check_schedule(path, checkpoint, run, restart)


def _rename(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with today's names of classes."""
    return {name: current_name(value) if name.endswith("_target_") else value for name, value in settings.items()}


def _check_settings(path: str, before: Mapping[str, Any], now: Mapping[str, Any], restart: bool) -> None:
    names = [name for name in {**now, **before} if _value(before, name, now) != _value(now, name, now)]
    groups = {name.partition(".")[0] for name in names if name.endswith("_target_")}  # another choice of a group
    names = [name for name in names if name.endswith("_target_") or name.partition(".")[0] not in groups]
    own = ("optimizer.", "scheduler.")
    if restart:
        names = [name for name in names if not name.startswith(own) or name == "optimizer._target_"]
    if not names:
        return
    pairs = [
        (name.removesuffix("._target_"), _show(before, name, now), _show(now, name, now)) for name in names[:SHOWN]
    ]
    told = "; ".join(f"{name} was {old} in the checkpoint and is {new} here" for name, old, new in pairs)
    more = f", and {len(names) - SHOWN} more differ" if len(names) > SHOWN else ""
    plain = len(names) == 1 and names[0] in before and not names[0].endswith("_target_")
    back = f"set {pairs[0][0]}={pairs[0][1]}" if plain else "set them as they were"
    anew = ", begin the schedule anew with resume_schedule=restart" if all(one.startswith(own) for one in names) else ""
    raise InputError(f"ckpt_path={path}: {told}{more}; {back}{anew}, or train a new run without ckpt_path.")


def _value(settings: Mapping[str, Any], name: str, now: Mapping[str, Any]) -> Any:
    """A setting; if it was left out, the default of the constructor that takes it, else None."""
    if name in settings:
        return settings[name]
    parent, _, leaf = name.rpartition(".")
    target = now.get(f"{parent}._target_")
    argument = accepted_arguments(resolve_name(target)).arguments.get(leaf) if target else None
    default = None if argument is None or argument.required else argument.default
    return list(default) if isinstance(default, tuple) else default


def _show(settings: Mapping[str, Any], name: str, now: Mapping[str, Any]) -> Any:
    value = _value(settings, name, now)
    return "not set" if value is None else value


def _check_data(path: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in now:
        if before.get(name) != now[name]:
            raise InputError(
                f"ckpt_path={path} was written on other data: {name} was {before.get(name)} and is {now[name]}; resume"
                " with the data of that run, or train a new run without ckpt_path (training on from the weights of"
                " another run is not possible yet)."
            )


def _check_schedule(path: str, checkpoint: Mapping[str, Any], run: Run, restart: bool) -> None:
    """Raise InputError if a schedule was planned for another number of steps than the run now has."""
    planned, steps = planned_steps(checkpoint), count_optimizer_steps(run.trainer, len(run.data.train_dataloader()))
    if restart or planned is None or planned == steps or run.is_finished(checkpoint):
        return
    raise InputError(
        f"ckpt_path={path}: the learning rate was planned for {planned:,} optimizer steps, and this run has {steps:,};"
        " keep trainer.max_epochs and optimizer_steps as they were, or begin the schedule anew over the remaining steps"
        " with resume_schedule=restart."
    )


def checkpoint_of(path: str, directory: Path) -> str | None:
    """The file that ``ckpt_path`` names: itself, or the last checkpoint of the run directory that it names.

    "auto" names ``directory``; None as long as it holds no checkpoint.
    """
    if path != "auto":
        return str(Path(path) / LAST) if Path(path).is_dir() else path
    if (directory / LAST).is_file():
        return str(directory / LAST)
    echo(f"ckpt_path=auto: {directory / LAST} does not exist yet, so training begins anew.")
    return None
