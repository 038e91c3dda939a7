"""Time of a training step with one thread and with all cores, by width of the model."""

import os
import statistics
import time
from functools import partial

import torch

from seqmodels.backbones.recurrent import Gru, Lstm
from seqmodels.backbones.wavenet import WaveNet
from seqmodels.forecaster import Forecaster
from seqmodels.heads.point import Point
from seqmodels.readouts.direct import SeqToSeq
from seqmodels.scalers.affine import StandardScaler
from seqmodels.window import Targets, WindowSpec

WIDTHS, BATCHES, STEPS, RUNS = (20, 64, 96, 128, 256), (32, 256), 8, 2


def step_time(model: Forecaster, batch: int, threads: int) -> float:
    """Median seconds of one forward and backward pass."""
    torch.set_num_threads(threads)
    inputs = model.spec.zeros(batch)
    inputs = inputs._replace(past_target=torch.randn_like(inputs.past_target))
    targets = Targets(
        torch.randn(batch, model.spec.horizon, 1), torch.ones(batch, model.spec.horizon, 1, dtype=torch.bool)
    )
    times = []
    for _ in range(STEPS):
        started = time.perf_counter()
        model.loss(inputs, targets).loss.backward()
        times.append(time.perf_counter() - started)
    return statistics.median(times[2:])


def main() -> None:
    torch.set_flush_denormal(True)
    spec, cores = WindowSpec(past_steps=56, horizon=14), len(os.sched_getaffinity(0))
    print(f"| model | width | batch | 1 thread, ms | {cores} threads, ms | gain |")
    print("|---|---|---|---|---|---|")
    for name, backbone in (("lstm", Lstm), ("gru", Gru), ("wavenet", WaveNet)):
        for width in WIDTHS:
            size = {"filters": width} if backbone is WaveNet else {"hidden": width}
            model = Forecaster(spec, StandardScaler, partial(backbone, **size), SeqToSeq, Point())
            for batch in BATCHES:
                one, all_ = (min(step_time(model, batch, threads) for _ in range(RUNS)) * 1e3 for threads in (1, cores))
                print(f"| {name} | {width} | {batch} | {one:.1f} | {all_:.1f} | {one / all_:.2f} |", flush=True)


if __name__ == "__main__":
    main()
