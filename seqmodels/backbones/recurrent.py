"""Simple RNN, LSTM and GRU: torch's own layers behind the contract of a backbone."""

from typing import NamedTuple

from torch import Tensor, nn

from seqmodels.causal import Backbone


class RecurrentState(NamedTuple):
    """Hidden state of every layer: (layers, B, hidden)."""

    hidden: Tensor


class LstmState(NamedTuple):
    """Short-term (hidden) and long-term (cell) state of every layer: (layers, B, hidden)."""

    hidden: Tensor
    cell: Tensor


class Rnn(Backbone):
    """Simple RNN: h(t) = tanh(W x(t) + U h(t-1) + b); ``dropout`` acts on the output of every layer.

    Source: Elman 1990. Differs: torch keeps two bias vectors, which adds ``hidden`` parameters per layer.
    """

    def __init__(self, features: int, past_steps: int, hidden: int = 32, layers: int = 1, dropout: float = 0.0):
        super().__init__()
        self.size = hidden
        self.layers = nn.RNN(features, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)

    def initial_state(self, x: Tensor) -> RecurrentState:
        return RecurrentState(x.new_zeros(self.layers.num_layers, x.shape[0], self.size))

    def unroll(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        features, hidden = self.layers(x, state.hidden)
        return self.dropout(features), RecurrentState(hidden)


class Gru(Backbone):
    """Gated recurrent unit: h = (1 - z) n + z h, n = tanh(W x + r (U h + b)); ``dropout`` as in ``Rnn``.

    Source: Cho et al. 2014. Differs: the reset gate r acts after the recurrent product, as in cuDNN and Keras 2.
    """

    def __init__(self, features: int, past_steps: int, hidden: int = 32, layers: int = 1, dropout: float = 0.0):
        super().__init__()
        self.size = hidden
        self.layers = nn.GRU(features, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)

    def initial_state(self, x: Tensor) -> RecurrentState:
        return RecurrentState(x.new_zeros(self.layers.num_layers, x.shape[0], self.size))

    def unroll(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        features, hidden = self.layers(x, state.hidden)
        return self.dropout(features), RecurrentState(hidden)


class Lstm(Backbone):
    """Long short-term memory: c = f c + i g, h = o tanh(c); ``dropout`` as in ``Rnn``.

    Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000 (forget gate); no peepholes.
    """

    def __init__(self, features: int, past_steps: int, hidden: int = 32, layers: int = 1, dropout: float = 0.0):
        super().__init__()
        self.size = hidden
        self.layers = nn.LSTM(features, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)

    def initial_state(self, x: Tensor) -> LstmState:
        zeros = x.new_zeros(self.layers.num_layers, x.shape[0], self.size)
        return LstmState(zeros, zeros)

    def unroll(self, x: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        features, (hidden, cell) = self.layers(x, (state.hidden, state.cell))
        return self.dropout(features), LstmState(hidden, cell)
