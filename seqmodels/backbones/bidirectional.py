"""Bidirectional LSTM and GRU, for models with one forecast or label per window."""

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqmodels.backbones.base import Backbone
from seqmodels.backbones.recurrent import FusedGru, FusedLstm
from seqmodels.errors import require_at_least, require_fraction


class Bidirectional(Backbone):
    """Base class of stacked bidirectional layers with ``hidden`` units per direction: (B, T, F) -> (B, 1, 2 hidden).

    The features belong to the last step: the forward output at step T - 1 and the backward output at step 0,
    concatenated, where each direction has read the whole window. Lower layers pass on both outputs at every step.
    T may differ from ``past_steps``. ``dropout`` applies to the output of every layer. ``every_step``: instead, both
    outputs at each step, (B, T, 2 hidden), for a readout that looks at all of them.

    Not causal: the features of a step depend on later ones, so a sequence cannot be read in chunks or step by step.

    Source: Schuster & Paliwal 1997; outputs as in the ``Bidirectional`` of Keras without ``return_sequences``.
    """

    causal = False
    reads_lengths = True
    fused: Callable[..., nn.RNNBase]

    def __init__(
        self,
        features: int,
        past_steps: int,
        hidden: int = 20,
        layers: int = 2,
        dropout: float = 0.0,
        every_step: bool = False,
    ):
        super().__init__()
        require_at_least(1, "model.backbone", hidden=hidden, layers=layers)
        require_fraction("model.backbone", dropout=dropout)
        self.hidden, self.size, self.offset = hidden, 2 * hidden, 0 if every_step else past_steps - 1
        self.every_step = every_step
        between = dropout if layers > 1 else 0.0  # torch warns about it for a single layer
        self.layers = self.fused(features, hidden, layers, batch_first=True, dropout=between, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, T, F) -> (B, 1, 2 hidden), or (B, T, 2 hidden).

        ``lengths`` (B,): steps of each sequence, where they are padded on the right.
        """
        outputs = self.layers(x)[0] if lengths is None else self._read_padded(x, lengths)
        if self.every_step:
            return self.dropout(outputs)
        last = outputs[:, -1:] if lengths is None else torch.take_along_dim(outputs, lengths[:, None, None] - 1, dim=1)
        features = torch.cat([last[..., : self.hidden], outputs[:, :1, self.hidden :]], dim=-1)
        return self.dropout(features)

    def _read_padded(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.layers(packed)[0], batch_first=True, total_length=x.shape[1])[0]

    def initial_state(self, x: Tensor) -> NoReturn:
        """Raise TypeError: there is no state to continue from."""
        self._raise_not_causal("initial_state")

    def unroll(self, x: Tensor, state: Any) -> NoReturn:
        """Raise TypeError: a later chunk would change the features of an earlier one."""
        self._raise_not_causal("unroll")

    def step(self, x: Tensor, state: Any) -> NoReturn:
        """Raise TypeError: a step depends on all later ones."""
        self._raise_not_causal("step")

    def _raise_not_causal(self, method: str) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__}.{method}: a bidirectional backbone reads whole windows only; call it on the whole"
            " window, or use a causal backbone such as lstm or gru."
        )


class BidirectionalLstm(Bidirectional):
    """Bidirectional LSTM; see ``seqmodels.backbones.recurrent.Lstm``."""

    fused = FusedLstm


class BidirectionalGru(Bidirectional):
    """Bidirectional GRU; see ``seqmodels.backbones.recurrent.Gru``."""

    fused = FusedGru
