"""Worker processes for methods of unknown duration: each call has a time limit, after which it is given up.

A worker runs a fresh interpreter, so that neither threads of this process nor the program of the user are in it.
"""

import atexit
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from seqmodels.classical import methods

PATIENCE = 120  # seconds for a worker to start and import its libraries


class Outcome(NamedTuple):
    """Result of a call, or the reason for its failure."""

    value: Any = None
    failure: str = ""


class Job(NamedTuple):
    """A call of a function of ``methods`` by its name."""

    function: str
    arguments: tuple[Any, ...]


class Worker:
    """A process that does one job after the other; it is started when it is needed."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.loaded: set[str] = set()  # methods whose library the process has imported

    def call(self, job: Job, limit: float | None) -> Outcome:
        """Do the job, whose first argument is a method, within ``limit`` seconds."""
        if self.process is None:
            self._start()
        method = job.arguments[0]
        try:
            if method not in self.loaded:
                self._ask(Job("load", (method,)), None)
                self.loaded.add(method)
            outcome = self._ask(job, limit)
            if outcome is not None:
                return outcome
        except (EOFError, OSError):
            self.stop()
            return Outcome(failure="its process ended, perhaps for lack of memory")
        self.stop()
        return Outcome(failure=f"it took longer than {limit:g} seconds")

    def _ask(self, job: Job, limit: float | None) -> Outcome | None:
        """Answer of the process; None after the time limit."""
        self.connection.send(job)
        return Outcome(*self.connection.recv()) if self.connection.poll(limit) else None

    def _start(self) -> None:
        self.connection, theirs = Pipe()
        self.loaded.clear()
        path = os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from seqmodels.classical.workers import serve; serve()", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the parent alone
        )
        theirs.close()
        if not self.connection.poll(PATIENCE):
            raise RuntimeError("a worker process for classical models does not start.")
        self.connection.recv()

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.connection.close()
            self.process.kill()
            self.process.wait()
            self.process = None


def serve() -> None:
    """Do the jobs that the parent sends, until it ends."""
    connection = Connection(int(sys.argv[1]))
    connection.send(None)
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        connection.send(attempt(job))


def attempt(job: Job) -> Outcome:
    """Do a job here, without the warnings of the libraries; notes on the fit replace them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Outcome(getattr(methods, job.function)(*job.arguments))
    except Exception as error:  # the libraries raise all kinds for series that they cannot fit
        reason = " ".join(str(error).split())[:120].removesuffix(".")
        return Outcome(failure=f"{type(error).__name__}: {reason}")


IDLE: SimpleQueue[Worker] = SimpleQueue()
started: list[Worker] = []
lock = threading.Lock()


def run(jobs: Sequence[Job], processes: int, limit: float | None, label: str = "") -> list[Outcome]:
    """Do the jobs side by side, ``limit`` seconds for each, with a progress bar called ``label`` on a terminal."""
    with lock:
        while len(started) < min(processes, len(jobs)):
            started.append(Worker())
            IDLE.put(started[-1])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    hidden = not (label and console.is_terminal)
    with (
        Progress(*columns, console=console, transient=True, disable=hidden) as progress,
        ThreadPoolExecutor(max(1, min(processes, len(jobs)))) as threads,
    ):
        task = progress.add_task(label, total=len(jobs))

        def do(job: Job) -> Outcome:
            worker = IDLE.get()
            try:
                return worker.call(job, limit)
            finally:
                IDLE.put(worker)
                progress.advance(task)

        try:
            return list(threads.map(do, jobs))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            stop_all()
            raise


@atexit.register
def stop_all() -> None:
    """End all worker processes."""
    for worker in started:
        worker.stop()
