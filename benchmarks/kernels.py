"""A training step of a backbone with a linear layer, by compiled kernels and by torch, compared with stock modules.

Forward pass, mean squared error, backward pass and fused Adam, without loader, scaler and logging. The three alternate
step by step, so that changes in the speed of the machine affect all of them; the ratios are medians over all rounds.
Freed memory is kept, as in every run. With one thread the time is that of the processor, which other processes affect
little; with two it is that of the clock. Arguments: names of models, and ``threads=2``.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from seqmodels.backbones.conv_front import Convolutional
from seqmodels.backbones.linear_recurrent import Lru, MinGru
from seqmodels.backbones.recurrent import Gru, Lstm, Rnn
from seqmodels.backbones.tcn import Tcn
from seqmodels.backbones.wavenet import WaveNet
from seqmodels.cli.environment import keep_freed_memory
from seqmodels.kernels import build

SECONDS, FEWEST = 4.0, 7  # per case; rounds


class StockConvolutions(nn.Module):
    """Causal dilated Conv1d with ReLU, (B, T, 1) -> (B, T, filters)."""

    def __init__(self, filters: int, kernel: int, dilations: tuple[int, ...]):
        super().__init__()
        layers: list[nn.Module] = []
        for number, dilation in enumerate(dilations):
            layers += [
                nn.ConstantPad1d(((kernel - 1) * dilation, 0), 0.0),
                nn.Conv1d(filters if number else 1, filters, kernel, dilation=dilation),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.transpose(1, 2)).transpose(1, 2)


class StockTcn(nn.Module):
    """Residual blocks of two causal Conv1d with weight norm, as the authors of the TCN have them."""

    def __init__(self, filters: int, kernel: int, dilations: tuple[int, ...]):
        super().__init__()
        self.blocks, self.fit = nn.ModuleList(), nn.Conv1d(1, filters, 1)
        for number, dilation in enumerate(dilations):
            block: list[nn.Module] = []
            for inputs in (filters if number else 1, filters):
                conv = nn.Conv1d(inputs, filters, kernel, dilation=dilation)
                block += [nn.ConstantPad1d(((kernel - 1) * dilation, 0), 0.0),
                          nn.utils.parametrizations.weight_norm(conv), nn.ReLU()]  # fmt: skip
            self.blocks.append(nn.Sequential(*block))

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for number, block in enumerate(self.blocks):
            x = torch.relu((x if number else self.fit(x)) + block(x))
        return x.transpose(1, 2)


class StockRecurrent(nn.Module):
    """torch's recurrent layers behind an optional strided convolution, (B, T, 1) -> (B, S, hidden)."""

    def __init__(self, kind: type[nn.RNNBase], hidden: int, layers: int, filters: int = 0):
        super().__init__()
        self.front = nn.Conv1d(1, filters, 4, stride=2) if filters else None
        self.layers = kind(filters or 1, hidden, layers, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x if self.front is None else self.front(x.transpose(1, 2)).transpose(1, 2))[0]


class StockLayerNormRnn(nn.Module):
    """Simple RNNs with layer normalisation, written as a loop over the steps: torch has no such layer."""

    def __init__(self, hidden: int, layers: int):
        super().__init__()
        self.inputs = nn.ModuleList(nn.Linear(hidden if number else 1, hidden) for number in range(layers))
        self.recurrent = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for inputs, recurrent, norm in zip(self.inputs, self.recurrent, self.norms, strict=True):
            hidden, outputs = x.new_zeros(x.shape[0], recurrent.in_features), []
            for step in inputs(x).unbind(1):
                hidden = torch.tanh(norm(step + recurrent(hidden)))
                outputs.append(hidden)
            x = torch.stack(outputs, 1)
        return x


WAVES, TCN_DILATIONS = (1, 2, 4, 8) * 2, (1, 2, 4, 8, 16)
Pair = tuple[Callable[[], nn.Module], Callable[..., nn.Module]]
SMALL: dict[str, Pair] = {  # batch 32, 50 steps, a forecast of 10 steps at every step
    "rnn": (partial(StockRecurrent, nn.RNN, 20, 2), Rnn),
    "gru": (partial(StockRecurrent, nn.GRU, 20, 2), Gru),
    "lstm": (partial(StockRecurrent, nn.LSTM, 20, 2), Lstm),
    "layer_norm_rnn": (partial(StockLayerNormRnn, 20, 2), partial(Rnn, layer_norm=True)),
    "conv_gru": (partial(StockRecurrent, nn.GRU, 20, 2, 20), partial(Convolutional, recurrent=Gru)),
    "wavenet": (partial(StockConvolutions, 20, 2, WAVES), WaveNet),
    "tcn": (partial(StockTcn, 32, 3, (1, 2, 4, 8)), Tcn),
}
LARGE: dict[str, Pair] = {  # batch 256, 168 steps, one forecast of 24 steps
    "rnn": (partial(StockRecurrent, nn.RNN, 64, 1), partial(Rnn, hidden=64, layers=1)),
    "gru": (partial(StockRecurrent, nn.GRU, 64, 1), partial(Gru, hidden=64, layers=1)),
    "lstm": (partial(StockRecurrent, nn.LSTM, 64, 1), partial(Lstm, hidden=64, layers=1)),
    "layer_norm_rnn": (partial(StockLayerNormRnn, 64, 1), partial(Rnn, hidden=64, layers=1, layer_norm=True)),
    "tcn": (partial(StockTcn, 32, 3, TCN_DILATIONS), partial(Tcn, dilations=TCN_DILATIONS)),
}
STOCK_GRU = partial(StockRecurrent, nn.GRU, 64, 2)
LONG: dict[str, Pair] = {  # batch 32, 1,024 steps, a forecast of 10 steps at every step
    "long_gru": (STOCK_GRU, partial(Gru, hidden=64)),
    "mingru": (STOCK_GRU, partial(MinGru, hidden=64)),
    "lru": (STOCK_GRU, partial(Lru, hidden=64)),
}


class Model(nn.Module):
    """A body with a linear layer at every step, or at the last one."""

    def __init__(self, body: nn.Module, size: int, horizon: int, last: bool):
        super().__init__()
        self.body, self.linear, self.last = body, nn.Linear(size, horizon), last

    def forward(self, x: Tensor) -> Tensor:
        if not self.last:
            return self.linear(self.body(x))
        own = getattr(self.body, "forward_last", None)
        return self.linear(own(x) if own else self.body(x)[:, -1:])


def stepper(body: nn.Module, batch: int, steps: int, size: int, horizon: int, last: bool) -> Callable[[], None]:
    """A function that trains one step."""
    model = Model(body, size, horizon, last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    x = torch.randn(batch, steps, 1)
    y = torch.randn_like(model(x))

    def step() -> None:
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def compare(pair: Pair, batch: int, steps: int, horizon: int, last: bool) -> list[list[float]]:
    """Seconds of each round: stock modules, ours by torch, ours by kernels."""
    stock, ours = pair
    backbones = [ours(features=1, past_steps=steps) for _ in range(2)]
    size = backbones[0].size
    runs = [("torch", stepper(stock(), batch, steps, size, horizon, last)),
            *((kernels, stepper(one, batch, steps, size, horizon, last))
              for kernels, one in zip(("torch", "compiled"), backbones, strict=True))]  # fmt: skip
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    rounds, end = list[list[float]](), time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(rounds) < FEWEST:
        rounds.append([])
        for kernels, step in runs:
            build.choice = kernels
            started = clock()
            step()
            rounds[-1].append(clock() - started)
    return rounds[2:]


def main() -> None:
    chosen = [argument for argument in sys.argv[1:] if argument in SMALL | LONG]
    torch.set_num_threads(2 if "threads=2" in sys.argv else 1)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    print("| batch x steps | model | stock, ms | torch, ms | kernels, ms | kernels/stock | quartiles | kernels/torch |")
    print("|---|---|---|---|---|---|---|---|")
    for cases, batch, steps, horizon, last in (
        (SMALL, 32, 50, 10, False),
        (LARGE, 256, 168, 24, True),
        (LONG, 32, 1024, 10, False),
    ):
        for name in [name for name in cases if name in chosen or not chosen]:
            rounds = compare(cases[name], batch, steps, horizon, last)
            stock, plain, kernels = (1e3 * statistics.median(times) for times in zip(*rounds, strict=True))
            low, middle, high = statistics.quantiles((times[2] / times[0] for times in rounds), n=4)
            own = statistics.median(times[2] / times[1] for times in rounds)
            print(f"| {batch} x {steps} | {name} | {stock:.2f} | {plain:.2f} | {kernels:.2f} | {middle:.2f}"
                  f" | {low:.2f} ... {high:.2f} | {own:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
