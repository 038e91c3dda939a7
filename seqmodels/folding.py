"""Rows that backbone and readout see for each window: one for each channel, and the mirror image of each."""

from typing import NamedTuple

import torch
from torch import Tensor

from seqmodels.window import Inputs, Statistics, WindowSpec


class Folding(NamedTuple):
    """Windows of C channels as rows: C rows of one channel each, so that all channels share the weights, or one of all.

    ``mirrored``: after all rows, the same ones with the opposite sign. Rows of a window follow one another.

    Source of the first: Zeng et al. 2023 and Nie et al. 2023 (PatchTST), "channel independence"; of the second: the
    forecast (f(x) - f(-x)) / 2 of TiRex, Auer et al. 2025.
    """

    channels: int  # 0: one row of all channels
    mirrored: bool

    def inner(self, spec: WindowSpec) -> WindowSpec:
        """What a row looks like; its statistics are those of scaled values."""
        if not self.channels:
            return spec
        one = Statistics((0.0,), (1.0,))
        return spec._replace(
            channels=("value",), series=spec.series * self.channels, target_statistics=one, nonnegative=()
        )

    def split(self, values: Tensor) -> Tensor:
        """Scaled values of windows (B, ..., C) -> those of rows (R, ..., C or 1)."""
        rows = self.split_mask(values)
        if self.mirrored:
            rows = torch.cat([rows[: len(rows) // 2], -rows[len(rows) // 2 :]])
        return rows

    def split_mask(self, mask: Tensor) -> Tensor:
        """The same without a sign."""
        rows = mask.movedim(-1, 1).flatten(0, 1).unsqueeze(-1) if self.channels else mask
        return torch.cat([rows, rows]) if self.mirrored else rows

    def repeat(self, values: Tensor) -> Tensor:
        """What all rows of a window share: (B, ...) -> (R, ...)."""
        rows = values.repeat_interleave(self.channels, dim=0) if self.channels else values
        return torch.cat([rows, rows]) if self.mirrored else rows

    def _number_channels(self, identity: Tensor) -> Tensor:
        """Number of the channel of each row among those of all training series, (R,); -1 if unknown."""
        if self.channels:
            channel = torch.arange(self.channels, device=identity.device)
            numbers = identity[:, None] * self.channels + channel
            identity = torch.where(identity[:, None] < 0, identity[:, None], numbers).flatten()
        return torch.cat([identity, identity]) if self.mirrored else identity

    def join(self, outputs: Tensor) -> Tensor:
        """Outputs of rows (R, S, H, C or 1, P) -> those of windows (B, S, H, C, P), mirrored ones after the others."""
        if not self.channels:
            return outputs
        return outputs.unflatten(0, (-1, self.channels)).squeeze(-2).movedim(1, 3)

    def join_values(self, rows: Tensor) -> Tensor:
        """Inverse of ``split``, for (R, C or 1)."""
        rows = rows[: len(rows) // 2] if self.mirrored else rows
        return rows.reshape(-1, self.channels) if self.channels else rows

    def split_inputs(self, inputs: Inputs) -> Inputs:
        """Masks and covariates of the rows; ``past_target``, ``level`` and ``seasonal_error`` stay those of windows."""
        if not self.channels and not self.mirrored:
            return inputs
        return inputs._replace(
            past_observed=self.split_mask(inputs.past_observed),
            past_covariates=self.repeat(inputs.past_covariates),
            known_covariates=self.repeat(inputs.known_covariates),
            static=self.repeat(inputs.static),
            series=self.repeat(inputs.series),
            reset=self.repeat(inputs.reset),
            clock=self.repeat(inputs.clock),
            identity=self._number_channels(inputs.identity),
        )
