"""LSTM and GRU that read a window in both directions: only for one forecast per window, from its last step."""

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from seqmodels.causal import Backbone
from seqmodels.errors import require_at_least, require_share


class Bidirectional(Backbone):
    """``layers`` layers, each of which reads forwards and backwards with ``hidden`` units per direction.

    (B, T, F) -> (B, 1, 2 hidden) for the last step: the forward half at T - 1, next to the backward half at 0, where
    each of them has read the whole window. The layers below the last pass both halves on at every step. Windows may
    have any length. It sees the future of every step but the last, and therefore cannot read in pieces or step by
    step. ``dropout`` acts on the output of every layer.

    Source: Schuster & Paliwal 1997; the choice of halves as in Keras' ``Bidirectional`` without ``return_sequences``.
    """

    causal = False
    fused: Callable[..., nn.RNNBase]

    def __init__(self, features: int, past_steps: int, hidden: int = 20, layers: int = 2, dropout: float = 0.0):
        super().__init__()
        require_at_least(1, "model.backbone", hidden=hidden, layers=layers)
        require_share("model.backbone", dropout=dropout)
        self.hidden, self.size, self.offset = hidden, 2 * hidden, past_steps - 1
        between = dropout if layers > 1 else 0.0  # torch warns about dropout between the layers of one
        self.layers = self.fused(features, hidden, layers, batch_first=True, dropout=between, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, 1, 2 hidden)."""
        both, _ = self.layers(x)
        features = torch.cat([both[:, -1:, : self.hidden], both[:, :1, self.hidden :]], dim=-1)
        return self.dropout(features)

    def initial_state(self, x: Tensor) -> NoReturn:
        """Raise TypeError: there is no state from which this could read on."""
        self._refuse("initial_state")

    def unroll(self, x: Tensor, state: Any) -> NoReturn:
        """Raise TypeError: a later piece would change the features of an earlier one."""
        self._refuse("unroll")

    def step(self, x: Tensor, state: Any) -> NoReturn:
        """Raise TypeError: a step would need all that come after it."""
        self._refuse("step")

    def _refuse(self, method: str) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__}.{method}: a bidirectional backbone reads whole windows only; call it as a whole,"
            " or use a causal backbone such as lstm or gru."
        )


class BidirectionalLstm(Bidirectional):
    """Bidirectional long short-term memory; see ``seqmodels.backbones.recurrent.Lstm``."""

    fused = nn.LSTM


class BidirectionalGru(Bidirectional):
    """Bidirectional gated recurrent units; see ``seqmodels.backbones.recurrent.Gru``."""

    fused = nn.GRU
