"""Judge a report of pip-audit on standard input: ``audit.py LOCKED``, a file with one name==version per line.

pip-audit itself ends well where it could look up nothing. Here the exit code is 0 only if every locked package was
looked up and none has a known vulnerability; 1 if one has; 2 if any could not be looked up.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any


def judge(report: str, locked: list[str]) -> tuple[int, str]:
    """Exit code and what to print; ``locked`` are the names of the packages that must be audited."""
    if not locked:
        return 2, "could not audit: no package is locked"
    if not report.strip():
        return 2, "could not audit: pip-audit gave no report"
    try:
        entries = {canonical(entry["name"]): entry for entry in json.loads(report)["dependencies"]}
        audited = {name: entry["vulns"] for name, entry in entries.items() if not entry.get("skip_reason")}
        vulnerabilities = [describe(entries[name], one) for name, found in audited.items() for one in found]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return 2, f"could not audit: the report of pip-audit cannot be read ({type(error).__name__}: {error})"
    names = {canonical(name) for name in locked}
    missed = sorted(names - audited.keys())
    count = f"audited {len(names) - len(missed)} of {len(names)} packages, {len(vulnerabilities)} vulnerabilities"
    lines = [count, *vulnerabilities]
    if missed:
        reason = entries.get(missed[0], {}).get("skip_reason", "not in the report")
        shown = ", ".join(missed[:5] + ["..."] * (len(missed) > 5))
        lines.append(f"could not audit: {shown}; the reason of the first: {reason}")
    return 1 if vulnerabilities else 2 if missed else 0, "\n".join(lines)


def describe(entry: dict[str, Any], vulnerability: dict[str, Any]) -> str:
    """One line: the package, the vulnerability, the versions that mend it."""
    fixed = ", ".join(vulnerability.get("fix_versions") or []) or "no version yet"
    return f"  {entry['name']} {entry['version']}: {vulnerability['id']}, fixed in {fixed}"


def canonical(name: str) -> str:
    """The name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    names = [line.partition("==")[0] for line in Path(sys.argv[1]).read_text(encoding="utf-8").split()]
    code, text = judge(sys.stdin.read(), names)
    print(text)
    sys.exit(code)
