"""Convolutional front end: a convolution, possibly strided, before another backbone."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.backbones.base import Backbone
from seqmodels.errors import InputError, require_at_least, require_choice

CONV_ACTIVATIONS = {"linear": nn.Identity, "relu": nn.ReLU}
PADDINGS = ("valid", "causal")
FEWEST_PATCHES = 4  # in a window, of one season each; where fewer fit, a patch is a part of a season
PATCHES = 16  # at least so many in a window without a season


class ConvolutionalState(NamedTuple):
    """Input buffer of the convolution, state of the backbone that follows it, and its latest features."""

    buffer: Tensor  # (B, fewer than kernel, F), steps that later outputs need
    recurrent: Any
    latest: Tensor  # (B, D), zeros before the first output


class Convolutional(Backbone):
    """Convolution followed by another backbone, which reads its outputs as a shorter sequence.

    ``recurrent(features=filters, past_steps=number of outputs)`` builds that backbone, usually a recurrent one; any
    other works too.

    ``padding="valid"``: every output sees ``kernel`` steps of the window, so the first one belongs to step
    kernel - 1. This gives the targets ``Y[:, 3::2]`` of the book for kernel 4 and stride 2. ``padding="causal"``:
    zeros before the window, so that its first steps have outputs too.

    ``kernel="auto"``: see ``choose_patch``, with ``season`` steps. ``stride=None``: as ``kernel``, so that the outputs
    belong to patches of the window that do not overlap.

    The last output always belongs to the last step of the window. If the window is not a whole number of strides, a
    valid convolution therefore gets zeros before the window too.

    Source: Géron, chapter 15 (linear, 2nd ed.; ReLU, 3rd ed.); causal padding: Moroney 2019;
    patches: Nie et al. 2023 (PatchTST), Lin et al. 2023 (SegRNN, a recurrent network on segments).
    """

    def __init__(
        self,
        features: int,
        past_steps: int,
        recurrent: Callable[..., Backbone],
        filters: int = 20,
        kernel: int | Literal["auto"] = 4,
        stride: int | None = 2,
        padding: str = "valid",
        activation: str = "linear",
        season: int = 1,
    ):
        super().__init__()
        kernel = choose_patch(season, past_steps) if kernel == "auto" else kernel
        stride = kernel if stride is None else stride
        _check_options(past_steps, filters, kernel, stride, padding, activation)
        self.kernel, self.conv_stride = kernel, stride
        first = (past_steps - 1) % stride if padding == "causal" else kernel - 1 - (kernel - past_steps) % stride
        self.left_padding = kernel - 1 - first
        self.convolution = nn.Linear(kernel * features, filters)
        self.activation = CONV_ACTIVATIONS[activation]()
        self.recurrent = _build_recurrent(recurrent, filters, (past_steps - 1 - first) // stride + 1)
        self.size, self.causal = self.recurrent.size, self.recurrent.causal
        self.stride = stride * self.recurrent.stride
        self.offset = first + stride * self.recurrent.offset
        if self.recurrent.receptive_field is not None:
            self.receptive_field = kernel + stride * (self.recurrent.receptive_field - 1)

    def initial_state(self, x: Tensor) -> ConvolutionalState:
        """Initial state, see ``Backbone``; raises TypeError if the backbone after the convolution is not causal."""
        recurrent = self.recurrent.initial_state(x.new_zeros(x.shape[0], 0, self.convolution.out_features))
        return ConvolutionalState(self._padding(x), recurrent, x.new_zeros(x.shape[0], self.size))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, S, D); needs no state, so the backbone after the convolution need not be causal."""
        outputs, _ = self._convolve(torch.cat([self._padding(x), x], dim=1))
        return self.recurrent(outputs) if outputs.shape[1] else x.new_zeros(x.shape[0], 0, self.size)

    def forward_last(self, x: Tensor) -> Tensor:
        outputs, _ = self._convolve(torch.cat([self._padding(x), x], dim=1))
        return self.recurrent.forward_last(outputs) if outputs.shape[1] else x.new_zeros(x.shape[0], 0, self.size)

    def unroll(self, x: Tensor, state: ConvolutionalState) -> tuple[Tensor, ConvolutionalState]:
        outputs, buffer = self._convolve(torch.cat([state.buffer, x], dim=1))
        if not outputs.shape[1]:
            return x.new_zeros(x.shape[0], 0, self.size), state._replace(buffer=buffer)
        features, recurrent = self.recurrent.unroll(outputs, state.recurrent)
        latest = features[:, -1] if features.shape[1] else state.latest
        return features, ConvolutionalState(buffer, recurrent, latest)

    def step(self, x: Tensor, state: ConvolutionalState) -> tuple[Tensor, ConvolutionalState]:
        """One step, see ``Backbone``; zeros before the first output."""
        outputs, buffer = self._convolve(torch.cat([state.buffer, x[:, None]], dim=1))
        if not outputs.shape[1]:
            return state.latest, state._replace(buffer=buffer)
        latest, recurrent = self.recurrent.step(outputs[:, 0], state.recurrent)
        return latest, ConvolutionalState(buffer, recurrent, latest)

    def _padding(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[0], self.left_padding, x.shape[2])

    def _convolve(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Steps (B, T, F) -> all outputs that they allow, (B, S, filters), and the steps that later outputs need."""
        if steps.shape[1] < self.kernel:
            return steps.new_zeros(steps.shape[0], 0, self.convolution.out_features), steps
        patches = self._patches(steps)
        outputs = self.activation(self.convolution(patches))
        return outputs, steps[:, patches.shape[1] * self.conv_stride :]

    def _patches(self, steps: Tensor) -> Tensor:
        """Steps (B, T, F) -> all patches that they hold, (B, S, kernel x F)."""
        if self.conv_stride < self.kernel:
            return steps.unfold(1, self.kernel, self.conv_stride).transpose(2, 3).flatten(2)
        whole = steps.shape[1] // self.kernel  # the gradient of unfold would take most of the time
        return steps[:, : whole * self.kernel].unflatten(1, (whole, self.kernel)).flatten(2)


def choose_patch(season: int, past_steps: int) -> int:
    """Steps of a patch: a season, if the window holds at least FEWEST_PATCHES, else the largest part that it holds so.

    Without a season in the window, its PATCHES-th part. 1, which leaves the sequence as long as it is, if the window is
    short.
    """
    if 1 < season <= past_steps:
        return max(steps for steps in range(1, season + 1) if season % steps == 0 and _fits(steps, past_steps))
    return max(1, past_steps // PATCHES)


def _fits(steps: int, past_steps: int) -> bool:
    return steps == 1 or steps * FEWEST_PATCHES <= past_steps


def _check_options(past_steps: int, filters: int, kernel: int, stride: int, padding: str, activation: str) -> None:
    if not 1 <= stride <= kernel <= past_steps:
        raise InputError(
            f"model.backbone.stride={stride} and kernel={kernel} must satisfy 1 <= stride <= kernel <="
            f" data.past_steps={past_steps}; otherwise steps would be skipped or no output would remain."
        )
    require_at_least(1, "model.backbone", filters=filters)
    require_choice(PADDINGS, "model.backbone", padding=padding)
    require_choice(CONV_ACTIVATIONS, "model.backbone", activation=activation)


def _build_recurrent(recurrent: Callable[..., Backbone], features: int, steps: int) -> Backbone:
    """Build the backbone after the convolution; its errors name its own place and number of steps."""
    try:
        return recurrent(features=features, past_steps=steps)
    except InputError as error:
        message = str(error).replace("model.backbone", "model.backbone.recurrent")
        message = message.replace("data.past_steps=", "the number of outputs of the convolution, ")
        raise InputError(message) from error
