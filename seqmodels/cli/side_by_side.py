"""Launcher of sweeps that runs jobs side by side, one on each core, in processes that share the loaded libraries."""

import gc
import io
import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from functools import partial
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from seqmodels.errors import InputError
from seqmodels.signals import Interrupted, handled_by, raise_at_once

BASIC = f"{BasicLauncher.__module__}.{BasicLauncher.__qualname__}"
MEMORY = 2 << 30  # bytes that a job of a sweep is expected to need
Run = Callable[[int], JobReturn]
log = logging.getLogger(__name__)


class SideBySide(BasicLauncher):
    """Hydra's own launcher, with as many jobs at a time as ``processes`` says.

    The output of a job then appears when it has ended.
    """

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; return the results for Hydra, in their order."""
        assert self.config is not None and self.hydra_context is not None
        first = self.hydra_context.config_loader.load_sweep_config(self.config, list(job_overrides[0]))
        count = min(count_processes(first), len(job_overrides))
        if count == 1:
            return super().launch(job_overrides, initial_job_idx)

        def run(number: int) -> JobReturn:
            return super(SideBySide, self).launch([job_overrides[number]], initial_job_idx + number)[0]

        return run_side_by_side(run, len(job_overrides), count)


def install() -> None:
    """Let ``SideBySide`` take the place of Hydra's own launcher; others, such as joblib, stay as they are."""
    Plugins.instance().class_name_to_class[BASIC] = SideBySide


def count_processes(config: DictConfig) -> int:
    """The number of jobs at a time; "auto": one for each core that memory suffices for, and 1 beside a GPU.

    A chosen number of ``threads`` divides the cores. Raises InputError unless it is "auto" or at least 1.
    """
    given = config.get("processes", 1)
    if given != "auto" and not (isinstance(given, int) and not isinstance(given, bool) and given >= 1):
        raise InputError(f"processes is {given!r}; it must be 'auto' or a number of at least 1.")
    if not hasattr(os, "fork"):
        return 1
    if given != "auto":
        return given
    import torch

    from seqmodels.cli.environment import count_cores

    if torch.cuda.is_available() or config.trainer.accelerator not in ("auto", "cpu"):
        return 1
    threads = config.threads if isinstance(config.threads, int) else 1
    return max(1, min(count_cores() // max(1, threads), available_memory() // MEMORY))


def available_memory() -> int:
    """Bytes that processes can still get; infinite if the system does not tell."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) << 10
    return sys.maxsize


def run_side_by_side(run: Run, jobs: int, count: int) -> list[JobReturn]:
    """Call ``run`` for each job in a process of its own, ``count`` at a time; return the results in order.

    The job of a process that dies has no value, and the others still run. A signal is sent on to the processes, which
    end in order, and raised when they have.
    """
    from seqmodels.cli.commands import train  # noqa: F401  # here, so that the processes share the libraries
    from seqmodels.report.output import echo

    echo(f"{jobs} jobs, {count} at a time; each is printed when it has ended (processes=1: one after the other).")
    sys.stdout.flush()
    gc.freeze()
    done, signals, running = dict[int, Any](), list[int](), dict[connection.Connection, tuple[Any, int]]()
    waiting = iter(range(jobs))
    with handled_by(partial(send_on, os.getpid(), running, signals)):
        while True:
            while not signals and len(running) < count and (number := next(waiting, None)) is not None:
                process, ours = start(run, number, count)
                running[ours] = process, number
            if not running:
                break
            for ready in connection.wait(list(running)):
                assert isinstance(ready, connection.Connection)
                process, number = running.pop(ready)
                done[number], text = receive(process, ready, number)
                print(text, end="", flush=True)
    if signals:
        raise next((one for one in done.values() if isinstance(one, Interrupted)), Interrupted(signals[0]))
    return [done[number] for number in range(jobs)]


def start(run: Run, number: int, count: int) -> tuple[Any, connection.Connection]:
    """Start the process of a job; return it with the connection through which it answers."""
    context = get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(theirs, run, number, count))
    process.start()
    theirs.close()
    return process, ours


def serve(answers: connection.Connection, run: Run, number: int, count: int) -> None:
    """Run a job and send its result, or the signal that ended it, with its output."""
    from seqmodels.cli import environment

    os.setpgrp()  # Ctrl-C is for the parent alone, which sends it on
    environment.processes = count
    text = io.StringIO()
    try:
        with handled_by(raise_at_once), redirect_stdout(text):
            outcome: Any = run(number)
    except Interrupted as stop:
        outcome = stop
    answers.send((outcome, text.getvalue()))


def receive(process: Any, answers: connection.Connection, number: int) -> tuple[Any, str]:
    """Outcome and output that a process sends; a job without a value if it died."""
    try:
        outcome = answers.recv()
    except EOFError:
        process.join()
        log.error("job %s ended with exit code %s, perhaps for lack of memory", number, process.exitcode)
        outcome = JobReturn(_return_value=math.inf, status=JobStatus.COMPLETED), ""
    process.join()
    return outcome


def send_on(
    parent: int, running: dict[connection.Connection, tuple[Any, int]], signals: list[int], number: int, frame: Any
) -> None:
    """Note a signal, and send it on to the processes that run; in one of these that has just begun, raise it."""
    if os.getpid() != parent:
        raise_at_once(number)
    signals.append(number)
    for process, _ in list(running.values()):
        if process.is_alive():
            os.kill(process.pid, number)
