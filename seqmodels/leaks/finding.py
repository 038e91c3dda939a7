"""The result of a leak check, and all results as a table for the terminal and as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from seqmodels.report.output import format_number, write_json

STYLES = {"clean": "green", "leak": "bold red", "warning": "yellow", "not checked": "dim"}


class Finding(NamedTuple):
    """Result of one check, with one sentence for each leak and warning."""

    check: str
    done: str  # what was changed or compared, and how much of it
    largest: float | None = None  # change or share, as ``done`` says; None if nothing was measured
    leaks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``leak``, ``warning``, ``clean``, or ``not checked`` if nothing was measured."""
        if self.leaks or self.warnings:
            return "leak" if self.leaks else "warning"
        return "not checked" if self.largest is None else "clean"


def findings_table(findings: Sequence[Finding]) -> Table:
    """One line for each check."""
    shown = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, header_style="bold")
    shown.add_column("check", no_wrap=True)
    shown.add_column("what was done")
    shown.add_column("largest", justify="right", no_wrap=True)
    shown.add_column("verdict", no_wrap=True)
    for finding in findings:
        largest = "" if finding.largest is None else format_number(finding.largest)
        verdict = Text(finding.verdict, style=STYLES[finding.verdict])
        shown.add_row(finding.check, Text(finding.done), largest, verdict)
    return shown


def list_sentences(findings: Sequence[Finding], kind: str) -> list[str]:
    """All ``leaks`` or all ``warnings``, each with the name of its check."""
    return [f"{finding.check}: {sentence}" for finding in findings for sentence in getattr(finding, kind)]


def write_findings(findings: Sequence[Finding], directory: Path, summary: Mapping[str, Any]) -> None:
    """Write ``metrics.json``: the entries of ``summary``, and the table as "findings"."""
    rows = [{**finding._asdict(), "verdict": finding.verdict} for finding in findings]
    write_json(directory / "metrics.json", {**summary, "findings": rows})
