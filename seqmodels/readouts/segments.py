"""Parallel decoder of SegRNN: all segments of the horizon at once, each by one step of a GRU from the last features."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from seqmodels.errors import InputError, require_at_least, require_fraction
from seqmodels.readouts.base import EncodedWindow
from seqmodels.readouts.direct import SeqToVector
from seqmodels.window import WindowSpec


class Segments(SeqToVector):
    """One forecast per window, segment by segment: S = 1.

    Each segment starts one step of a GRU from the last features of the backbone; what it reads is an embedding of the
    position of the segment, beside one of the series, or of the channel where channels are independent. One linear
    layer, the same for all segments, turns its output into the steps of the segment.

    ``segment``: steps of a segment; "auto": see ``choose_segment``. ``dropout``: on the output of the GRU.
    ``known_hidden`` and ``corrects``: as in ``Direct``. A series that training has not seen has an embedding of 0.

    Source: Lin et al. 2023, "SegRNN: Segment recurrent neural network for long-term time series forecasting". The
    encoder there is ``model/backbone=patch_gru`` with activation=relu and segments of equal length on both sides.
    """

    def __init__(
        self,
        spec: WindowSpec,
        size: int,
        parameters: int,
        state: Any = None,
        segment: int | Literal["auto"] = "auto",
        dropout: float = 0.0,
        known_hidden: int = 32,
        corrects: str = "none",
    ):
        super().__init__(spec, size, parameters, state, known_hidden, corrects)
        self.segment = choose_segment(spec.season, spec.horizon) if segment == "auto" else segment
        require_at_least(1, "model.readout", segment=self.segment)
        if self.segment > spec.horizon:
            raise InputError(
                f"model.readout.segment is {self.segment}; it must be at most data.horizon={spec.horizon}."
            )
        require_fraction("model.readout", dropout=dropout)
        own = size // 2 if spec.series > 1 else 0
        self.position = nn.Parameter(torch.randn(-(-spec.horizon // self.segment), size - own))
        self.series = nn.Embedding(spec.series + 1, own, padding_idx=0) if own else None
        self.cell = nn.GRUCell(size, size)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(size, self.segment * self.channels * parameters)

    def forward(self, encoded: EncodedWindow, teacher: Tensor | None = None) -> Tensor:
        start = encoded.features[:, -1, None].expand(-1, len(self.position), -1)
        read = self.position.expand(len(start), -1, -1)
        if self.series is not None:
            series = self.series(encoded.identity + 1)
            read = torch.cat([read, series[:, None].expand(-1, len(self.position), -1)], dim=-1)
        outputs = self.dropout(self.cell(read.flatten(0, 1), start.flatten(0, 1)))
        values = self.linear(outputs).unflatten(0, (len(start), -1))
        steps = values.unflatten(-1, (self.segment, self.channels, self.parameters_per_value)).flatten(1, 2)
        return self.add_known(steps[:, None, : self.leads], encoded)


def choose_segment(season: int, horizon: int) -> int:
    """Steps of a segment: the largest part of a season that the horizon holds twice; a quarter without a season."""
    if season > 1 and horizon > 1:
        return max(steps for steps in range(1, season + 1) if season % steps == 0 and 2 * steps <= horizon)
    return -(-horizon // 4)
