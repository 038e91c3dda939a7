"""Simple RNN, LSTM and GRU: torch's own layers behind the contract of a backbone."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from seqmodels.causal import Backbone
from seqmodels.errors import require_at_least, require_share


class RecurrentState(NamedTuple):
    """Hidden state of every layer: (layers, B, hidden)."""

    hidden: Tensor


class LstmState(NamedTuple):
    """Short-term (hidden) and long-term (cell) state of every layer: (layers, B, hidden)."""

    hidden: Tensor
    cell: Tensor


class Recurrent(Backbone):
    """``layers`` layers of ``hidden`` units each; ``dropout`` acts on the output of every layer."""

    kind: Callable[..., nn.RNNBase]

    def __init__(self, features: int, past_steps: int, hidden: int = 20, layers: int = 2, dropout: float = 0.0):
        super().__init__()
        require_at_least(1, "model.backbone", hidden=hidden, layers=layers)
        require_share("model.backbone", dropout=dropout)
        self.size = hidden
        between = dropout if layers > 1 else 0.0  # torch warns about dropout between the layers of one
        self.layers = self.kind(features, hidden, layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)

    def zeros(self, x: Tensor) -> Tensor:
        """(layers, B, hidden) on the device of x."""
        return x.new_zeros(self.layers.num_layers, x.shape[0], self.size)

    def initial_state(self, x: Tensor) -> Any:
        return RecurrentState(self.zeros(x))

    def unroll(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        features, hidden = self.layers(x, state.hidden)
        return self.dropout(features), RecurrentState(hidden)


class Rnn(Recurrent):
    """Simple RNN: h(t) = tanh(W x(t) + U h(t-1) + b).

    Source: Elman 1990. Differs: torch keeps two bias vectors, which adds ``hidden`` parameters per layer.
    """

    kind = nn.RNN


class Gru(Recurrent):
    """Gated recurrent unit: h = (1 - z) n + z h, n = tanh(W x + r (U h + b)).

    Source: Cho et al. 2014. Differs: the reset gate r acts after the recurrent product, as in cuDNN and Keras 2.
    """

    kind = nn.GRU


class Lstm(Recurrent):
    """Long short-term memory: c = f c + i g, h = o tanh(c).

    Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000 (forget gate); no peepholes.
    """

    kind = nn.LSTM

    def initial_state(self, x: Tensor) -> LstmState:
        return LstmState(self.zeros(x), self.zeros(x))

    def unroll(self, x: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        features, (hidden, cell) = self.layers(x, (state.hidden, state.cell))
        return self.dropout(features), LstmState(hidden, cell)
