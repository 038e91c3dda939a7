"""The audit of the locked packages never passes where something was not looked up."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "audit.py"
LOCKED = ["ast_serialize", "Jinja2", "torch"]
CLEAN: list[dict[str, Any]] = [
    {"name": "ast-serialize", "version": "0.13.1", "vulns": []},
    {"name": "jinja2", "version": "3.1.6", "vulns": []},
    {"name": "torch", "version": "2.13.0", "vulns": []},
]
HOLE = {"id": "PYSEC-1-1", "fix_versions": ["2.13.1", "2.14.0"], "aliases": [], "description": "..."}


def judge(report: str, locked: list[str] = LOCKED) -> tuple[int, str]:
    return runpy.run_path(str(SCRIPT))["judge"](report, locked)


def report(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def skipped(name: str) -> dict[str, Any]:
    return {"name": name, "skip_reason": f"{name} not found"}


def test_all_packages_audited_and_clean() -> None:
    assert judge(report(*CLEAN)) == (0, "audited 3 of 3 packages, 0 vulnerabilities")


def test_each_vulnerability_is_named_with_its_mended_versions() -> None:
    code, text = judge(report(*CLEAN[:2], {**CLEAN[2], "vulns": [HOLE]}))
    assert code == 1
    assert text.splitlines() == [
        "audited 3 of 3 packages, 1 vulnerabilities",
        "  torch 2.13.0: PYSEC-1-1, fixed in 2.13.1, 2.14.0",
    ]


def test_all_packages_skipped() -> None:
    code, text = judge(report(*map(skipped, ("ast-serialize", "jinja2", "torch"))))
    assert code == 2
    assert text.splitlines() == [
        "audited 0 of 3 packages, 0 vulnerabilities",
        "could not audit: ast-serialize, jinja2, torch; the reason of the first: ast-serialize not found",
    ]


@pytest.mark.parametrize("last", [[skipped("torch")], []], ids=["skipped", "missing"])
def test_one_package_not_looked_up(last: list[dict[str, Any]]) -> None:
    code, text = judge(report(*CLEAN[:2], *last))
    assert code == 2
    assert text.startswith("audited 2 of 3 packages, 0 vulnerabilities\ncould not audit: torch; ")


def test_a_vulnerability_counts_more_than_a_package_not_looked_up() -> None:
    assert judge(report(*CLEAN[:1], {**CLEAN[1], "vulns": [HOLE]}, skipped("torch")))[0] == 1


@pytest.mark.parametrize(
    "text", ["", "\n", '{"dependencies": [', "[]", "null", "{}", '{"dependencies": [{"name": "torch"}]}']
)
def test_empty_and_broken_reports(text: str) -> None:
    code, said = judge(text)
    assert code == 2 and said.startswith("could not audit: ")


def test_nothing_locked_is_no_audit() -> None:
    assert judge(report(*CLEAN), []) == (2, "could not audit: no package is locked")


@pytest.mark.parametrize(("text", "code"), [(report(*CLEAN), 0), ("", 2)], ids=["clean", "empty"])
def test_script_reads_standard_input_and_exits_with_the_code(tmp_path: Path, text: str, code: int) -> None:
    locked = tmp_path / "locked"
    locked.write_text("ast_serialize==0.13.1\nJinja2==3.1.6\ntorch==2.13.0\n")
    done = subprocess.run([sys.executable, str(SCRIPT), str(locked)], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, judge(text)[1] + "\n", "")
