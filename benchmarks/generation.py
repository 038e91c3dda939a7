"""Milliseconds per generated value: one step with a state, or the last 1,024 steps read again for each value.

1,000 values, each fed back as the next input, for one series and for a batch of 32; one thread, medians of several
runs. The receptive field of the WaveNets is 1,024 steps (kernel 2, dilations 1 ... 512) and that of the TCN 1,021
(kernel 3, dilations 1 ... 128). The cost of a step does not depend on it.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from seqmodels.backbones.base import Backbone
from seqmodels.backbones.recurrent import Gru, Lstm
from seqmodels.backbones.tcn import Tcn
from seqmodels.backbones.wavenet import GatedWaveNet, WaveNet

CONTEXT, VALUES, RUNS = 1024, 1000, 5
DILATIONS = [2**i for i in range(10)]
MODELS: dict[str, Callable[..., Backbone]] = {
    "wavenet, 20 filters": partial(WaveNet, filters=20, dilations=DILATIONS, stacks=1),
    "wavenet, 32 filters": partial(WaveNet, filters=32, dilations=DILATIONS, stacks=1),
    "wavenet_gated, 20 filters": partial(GatedWaveNet, filters=20, dilations=DILATIONS, stacks=1),
    "wavenet_gated, 32 filters": partial(GatedWaveNet, filters=32, dilations=DILATIONS, stacks=1),
    "tcn, 32 filters": partial(Tcn, filters=32, dilations=DILATIONS[:8]),
    "lstm, 2 x 32": partial(Lstm, hidden=32),
    "gru, 2 x 32": partial(Gru, hidden=32),
}


def time_steps(net: Backbone, window: Tensor) -> float:
    """Milliseconds per value; reading the window once before is not counted."""
    features, state = net.unroll(window, net.initial_state(window))
    step, value = net.stepper(), features[:, -1, :1]
    started = time.perf_counter()
    for _ in range(VALUES):
        features, state = step(value, state)
        value = features[:, :1]
    return 1000 * (time.perf_counter() - started) / VALUES


def time_windows(net: Backbone, window: Tensor) -> float:
    """Milliseconds per value; a few values suffice, since all cost the same."""
    values = 20 if len(window) == 1 else 2
    started = time.perf_counter()
    for _ in range(values):
        window = torch.cat([window[:, 1:], net(window)[:, -1:, :1]], dim=1)
    return 1000 * (time.perf_counter() - started) / values


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| model | series | step, ms | 1,024 steps again, ms | ratio |")
    print("|---|---|---|---|---|")
    for name, make in MODELS.items():
        net = make(features=1, past_steps=CONTEXT).eval()
        for series in (1, 32):
            window = torch.randn(series, CONTEXT, 1)
            pairs = [(time_steps(net, window), time_windows(net, window)) for _ in range(RUNS)]
            step, again = (statistics.median(times) for times in zip(*pairs, strict=True))
            print(f"| {name} | {series} | {step:.3f} | {again:.2f} | {again / step:.0f} |", flush=True)


if __name__ == "__main__":
    main()
