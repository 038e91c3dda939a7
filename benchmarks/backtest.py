"""``evaluate`` on a panel, against a bare loop over the same windows, and on millions of origins.

The panel has 400 series of 1,000 hours, of which each is forecast from five origins a day apart, 24 hours from the last
168, by an LSTM of 64 and a TCN of 32 with random weights. The loop cuts all windows at once, scales each by its own
mean and deviation, and applies the stock modules of ``benchmarks/kernels.py`` in batches of 256; it computes the mean
absolute error, while ours also gives naive forecasts, bands, adaptive bands and tables. Rounds alternate, with one
thread, in time of the processor.

The second part is a single series and a WaveNet that reads 168 steps in one pass: as many origins as the argument
``origins``, by default 2,000,000, in a process of its own, whose memory is measured too.
"""

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import torch

from benchmarks import kernels
from datamodules.table import Table
from seqmodels.backbones.recurrent import Lstm
from seqmodels.backbones.tcn import Tcn
from seqmodels.backbones.wavenet import WaveNet
from seqmodels.forecaster import Forecaster
from seqmodels.heads.point import Point
from seqmodels.inference.calibration import LEVELS, Calibration
from seqmodels.inference.forecast import TrainedModel
from seqmodels.kernels.build import choose_kernels
from seqmodels.readouts.direct import SeqToSeq, SeqToVector
from seqmodels.scalers.affine import StandardScaler, WindowScaler

SERIES, ROWS, ORIGINS, PAST, HORIZON, SIZE, ROUNDS = 400, 1000, 5, 168, 24, 64, 7


def panel(series: int, rows: int) -> np.ndarray:
    """Daily waves of different heights, with noise, (series, rows) float32."""
    random = np.random.default_rng(0)
    waves = np.sin(np.arange(rows) * 2 * np.pi / 24 + random.uniform(0, 6, (series, 1)))
    return ((waves + random.normal(size=(series, rows)) / 4) * random.uniform(1, 9, (series, 1)) + 20).astype(
        np.float32
    )


def trained(values: np.ndarray, parts: tuple[Any, Any, Any], test: int, **changes: Any) -> tuple[TrainedModel, Any]:
    """A model with random weights and bands, and the series."""
    series, rows = values.shape
    frame = pl.DataFrame({"id": np.repeat(np.arange(series), rows), "y": values.ravel()}).cast({"id": pl.String})
    data = Table(
        frame, id="id", target="y", past_steps=PAST, horizon=HORIZON, season=24, split=[-test - 50, -test], **changes
    )
    data.setup()
    torch.manual_seed(0)
    bands = Calibration(LEVELS, torch.linspace(-2, 2, len(LEVELS))[:, None, None].expand(-1, HORIZON, 1), 99)
    model = TrainedModel(Forecaster(data.spec, *parts, Point()).eval(), data.encoder(), bands)
    assert model.encoder is not None
    return model, model.encoder.read(frame)  # type: ignore[union-attr]


class Loop:
    """The bare loop, over the stock model ``name``."""

    def __init__(self, values: np.ndarray, name: str):
        size = 32 if name == "tcn" else SIZE
        self.values, self.model = torch.from_numpy(values), kernels.Model(kernels.LARGE[name][0](), size, HORIZON, True)

    @torch.no_grad()
    def run(self) -> float:
        test = HORIZON * ORIGINS
        cuts = self.values[:, -PAST - test :].unfold(1, PAST + HORIZON, 24).reshape(-1, PAST + HORIZON)
        total = 0.0
        for part in cuts.split(256):
            past, target = part[:, :PAST], part[:, PAST:]
            centre, scale = past.mean(1, keepdim=True), past.std(1, keepdim=True)
            made = self.model(((past - centre) / scale)[..., None])[:, -1] * scale + centre
            total += float((made - target).abs().sum())
        return total / cuts.numel()


def compare() -> None:
    values, test = panel(SERIES, ROWS), HORIZON * ORIGINS
    body = partial(Lstm, hidden=SIZE, layers=1)
    parts, plain = (partial(WindowScaler, scale="deviation"), body, SeqToVector), (StandardScaler, body, SeqToSeq)
    causal = StandardScaler, partial(Tcn, dilations=kernels.TCN_DILATIONS), SeqToSeq
    cases = {  # the loop beside it, model and series, and how the series are read
        "lstm, windows": ("lstm", *trained(values, parts, test), "windows"),
        "lstm, carried": ("lstm", *trained(values, plain, test), "carried"),
        "tcn, windows": ("tcn", *trained(values, causal, test), "windows"),
        "tcn, one pass": ("tcn", *trained(values, causal, test), "auto"),
    }
    loops = {name: Loop(values, name) for name in ("lstm", "tcn")}
    times: dict[str, list[float]] = {name: [] for name in (*loops, *cases)}
    for _ in range(ROUNDS + 1):
        for name, loop in loops.items():
            times[name].append(seconds(loop.run)[0])
        for name, (_, model, series, state) in cases.items():
            took, made = seconds(partial(model.evaluate_series, series, own=True, origins=24, state=state))
            times[name].append(took)
            assert made.windows == SERIES * ORIGINS, made.windows
    print("| evaluation | s | loop, s | ratio |")
    print("|---|---|---|---|")
    for name, (loop, *_) in cases.items():
        pairs = list(zip(times[name][1:], times[loop][1:], strict=True))
        ours, bare = (statistics.median(one) for one in zip(*pairs, strict=True))
        print(f"| {name} | {ours:.3f} | {bare:.3f} | {statistics.median(a / b for a, b in pairs):.2f} |", flush=True)


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of a call, and its result."""
    started = time.process_time()
    made = call()
    return time.process_time() - started, made


def long(origins: int) -> None:
    values = panel(1, origins + HORIZON + PAST + 1000)
    parts = (StandardScaler, partial(WaveNet, dilations=[1, 2, 4, 8, 16, 32, 64], stacks=1), SeqToSeq)
    model, series = trained(values, parts, origins + HORIZON - 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    made = model.evaluate_series(series, own=True, state="auto")
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("\n| origins | carried | s | MB before | peak, MB |\n|---|---|---|---|---|")
    print(f"| {made.windows:,} | {made.carried} | {seconds:.1f} | {before:,.0f} | {peak:,.0f} |", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    choose_kernels("auto")
    given = dict(one.split("=") for one in sys.argv[1:] if "=" in one)
    if "origins" not in given:
        compare()
    process = multiprocessing.get_context("spawn").Process(target=long, args=(int(given.get("origins", 2_000_000)),))
    process.start()
    process.join()


if __name__ == "__main__":
    main()
