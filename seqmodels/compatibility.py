"""Checks of the parts of a model against one another, and the origins they can forecast from; for building only."""

from seqmodels.backbones.base import Backbone
from seqmodels.errors import InputError
from seqmodels.heads.base import Head
from seqmodels.readouts.base import Readout
from seqmodels.scalers.base import Scaler
from seqmodels.window import Origins, WindowSpec


def feature_origins(backbone: Backbone) -> Origins:
    """The past steps with features."""
    return Origins(backbone.offset, backbone.stride)


def supervised_origins(spec: WindowSpec, scaler: Scaler, backbone: Backbone, readout: Readout) -> Origins:
    """The past steps whose forecasts enter the loss.

    With a forecast at every step, raises InputError for a backbone that sees the future, and for a scaler that takes
    its statistics from the whole window.
    """
    steps, every = spec.past_steps, readout.every_step
    if every and not backbone.causal:
        raise InputError(
            "model.backbone sees the future, and model.readout (seq_to_seq, iterated) asks for a forecast at every"
            " step, whose target it would have seen; use model/readout=seq_to_vector."
        )
    chosen = readout.origins(feature_origins(backbone), steps)
    first = max(chosen.first, scaler.burn_in(spec) - 1) if every else chosen.first
    skipped = -(-(first - chosen.first) // chosen.stride)
    origins = Origins(chosen.first + skipped * chosen.stride, chosen.stride)
    if len(origins.of(steps)) <= 1 < len(chosen.of(steps)):
        raise InputError(
            f"model.scaler takes its statistics from the first {scaler.burn_in(spec)} of"
            f" data.past_steps={steps} steps, which leaves only the last one to forecast from;"
            " use model/readout=seq_to_vector."
        )
    return origins


def refuse_what_does_not_fit(
    spec: WindowSpec, scaler: Scaler, backbone: Backbone, readout: Readout, head: Head
) -> None:
    """Raise InputError for two parts that do not fit together."""
    if readout.recursive and backbone.stride > 1:
        raise InputError(
            f"model.backbone gives features every {backbone.stride} steps, and model.readout=iterated needs"
            " them after each forecast that is fed back; use model/readout=seq_to_seq, or a stride of 1."
        )
    if readout.attends and len(feature_origins(backbone).of(spec.past_steps)) == 1:
        raise InputError(
            "model.readout.attention looks back over the features of model.backbone, which gives only those of the"
            " last step; set it to false, or use a backbone with features at every step."
        )
    if scaler.in_own_units:
        return
    if head.relative:
        raise InputError(
            "model.head.loss=mape is relative to the data's own values, and model.scaler forecasts differences or"
            " an asinh; choose another loss or scaler."
        )
    if head.parameters_per_value > 1:
        raise InputError(
            f"model.head describes each value by {head.parameters_per_value} numbers, and model.scaler, which forecasts"
            " differences or an asinh, can bring back one; use model/head=point or another scaler."
        )


def why_stateless(backbone: Backbone, scaler: Scaler, readout: Readout) -> str:
    """Why no state of such a model can be carried from window to window, and the way out; "" if one can."""
    if not backbone.causal:
        return "model.backbone sees the future, so that it has no state; use a causal one"
    first, stride = feature_origins(backbone)
    if (first, stride) != (0, 1):
        return (
            f"model.backbone has no feature for each step (the first after {first + 1}, then every {stride}); use a"
            " recurrent one, wavenet or tcn, and stride=1 with padding=causal for a convolution"
        )
    if scaler.per_window:
        return (
            "model.scaler scales each window by itself, so that the state would mean something else in the next one;"
            " use model/scaler=standard"
        )
    if readout.attends:
        return "model.readout.attention looks back over one window only; set it to false"
    return ""
