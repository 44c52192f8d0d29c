# SPDX-License-Identifier: Apache-2.0
"""What is compared: the cases of perf/cases.tsv, and the limits beside them. Reads text, touches no file."""
from dataclasses import dataclass

TROUPE = "troupe"
# Measured and shown, but no "other runtime" of its own: the same Tokio, used in another way.
UNCOUNTED = ("tokio_supervised",)


class Malformed(Exception):
    """A table or a program's output that is not as agreed."""


@dataclass(frozen=True)
class Case:
    name: str
    unit: str
    less: bool  # is less better?
    size: int
    required: float | None  # the least ratio to the best peer
    what: str


@dataclass(frozen=True)
class Limit:
    case: str
    name: str
    kind: str  # at_most, ratio
    value: float
    against: str | None


def rows(text, columns, source):
    """The fields of each line that is no comment."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != columns:
            raise Malformed(f"{source}:{number}: {len(fields)} fields instead of {columns}, separated by tabs")
        yield number, fields


def read_cases(text, source="cases.tsv"):
    cases = []
    for number, (name, unit, better, size, required, what) in rows(text, 6, source):
        if better not in ("less", "more"):
            raise Malformed(f"{source}:{number}: better is '{better}', neither less nor more")
        if any(case.name == name for case in cases):
            raise Malformed(f"{source}:{number}: '{name}' is there twice")
        try:
            ratio = None if required == "-" else float(required)
            cases.append(Case(name, unit, better == "less", int(size), ratio, what))
        except ValueError as error:
            raise Malformed(f"{source}:{number}: {error}") from None
    return cases


def read_limits(text, source="limits.tsv"):
    limits = []
    for number, (case, name, kind, value, against) in rows(text, 5, source):
        if kind not in ("at_most", "ratio") or (kind == "ratio" and against == "-"):
            raise Malformed(f"{source}:{number}: '{kind}' against '{against}'")
        limits.append(Limit(case, name, kind, float(value), None if against == "-" else against))
    return limits


def read_notes(text):
    """The hand-written texts: a line `## CASE` and what follows it, up to the next."""
    notes, key = {}, None
    for line in text.splitlines():
        if line.startswith("## "):
            key = line[3:].strip()
            notes[key] = []
        elif key is not None:
            notes[key].append(line)
    return {key: "\n".join(lines).strip() for key, lines in notes.items()}
