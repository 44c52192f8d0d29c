# SPDX-License-Identifier: Apache-2.0
"""From programs' output to medians, ratios and verdicts. Pure: no files, no processes, no clock."""
import math
from dataclasses import dataclass, field

from cases import TROUPE, UNCOUNTED, Malformed

DONE, ABSENT, FAILED, LATE = "done", "absent", "failed", "late"  # how a run ended


def parse_output(text, case):
    """The lines `NAME VALUE UNIT`, the first of which is the case's. Its unit may lack the words in front: ns/timer is
    as good as CPU ns/timer."""
    figures = []
    for line in text.splitlines():
        if not line.strip():
            continue
        fields = line.split(None, 2)
        try:
            name, value, unit = fields[0], float(fields[1]), fields[2].strip()
        except (IndexError, ValueError):
            raise Malformed(f"not a line of NAME VALUE UNIT: '{line}'") from None
        if not math.isfinite(value) or value < 0:
            raise Malformed(f"no possible value: '{line}'")
        figures.append((name, value, unit))
    if not figures:
        raise Malformed("it printed nothing")
    name, value, unit = figures[0]
    if name != case.name or not (" " + case.unit).endswith(" " + unit):
        raise Malformed(f"the first line is of '{name}' in '{unit}', not '{case.name}' in '{case.unit}'")
    return [(name, value, case.unit)] + figures[1:]


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


@dataclass
class Series:
    """One runtime's runs of one case."""

    values: dict = field(default_factory=dict)  # name of a figure: its values
    units: dict = field(default_factory=dict)
    peaks: list = field(default_factory=list)  # KiB
    troubles: list = field(default_factory=list)  # of runs that failed or were too late
    absent: str | None = None  # why there is no such case

    def median(self, name):
        return median(self.values[name]) if self.values.get(name) else None


def collect(runs):
    """Series by (case, runtime)."""
    series = {}
    for run in runs:
        one = series.setdefault((run["case"], run["runtime"]), Series())
        if run["outcome"] == DONE:
            one.peaks.append(run["peak_kib"])
            for name, value, unit in run["figures"]:
                one.values.setdefault(name, []).append(value)
                one.units[name] = unit
        elif run["outcome"] == ABSENT:
            one.absent = run["why"]
        else:
            one.troubles.append(run["why"])
    return series


def ratio(ours, theirs, less):
    """How many times as good ours is; above 1 is better."""
    if ours is None or theirs is None:
        return None
    better, worse = (ours, theirs) if less else (theirs, ours)
    if better == worse:
        return 1.0
    return math.inf if better == 0 else worse / better


def best_peer(series, case):
    """Name and ratio of the peer that Troupe is least ahead of; (None, None) when nobody can be compared."""
    ours = series.get((case.name, TROUPE), Series()).median(case.name)
    best = (None, None)
    for (name, runtime), one in series.items():
        if name != case.name or runtime == TROUPE or runtime in UNCOUNTED:
            continue
        against = ratio(ours, one.median(name), case.less)
        if against is not None and (best[1] is None or against < best[1]):
            best = (runtime, against)
    return best


@dataclass(frozen=True)
class Verdict:
    what: str  # the requirement
    reached: bool | None  # None: it cannot be told
    text: str


def judge(what, measured, required, at_least):
    if measured is None:
        return Verdict(what, None, "not measured")
    reached = measured >= required if at_least else measured <= required
    if reached:
        return Verdict(what, True, "reached")
    by = short(measured) if short(measured) != short(required) else f"{measured:.6g}"
    return Verdict(what, False, f"missed: {by} of {short(required)}")


def verdicts(series, case, limits):
    """All that the case has to reach."""
    found = []
    ours = series.get((case.name, TROUPE), Series())
    if case.required is not None:
        found.append(judge(f"{short(case.required)} × the best peer", best_peer(series, case)[1], case.required, True))
    for limit in limits:
        if limit.case != case.name:
            continue
        if limit.kind == "ratio":
            theirs = series.get((case.name, limit.against), Series()).median(limit.name)
            measured = ratio(ours.median(limit.name), theirs, case.less)
            found.append(judge(f"{short(limit.value)} × {limit.against}", measured, limit.value, True))
        else:
            found.append(own_limit(ours, limit))
    return found


def own_limit(ours, limit):
    at_most, what = limit.value, f"{limit.name} ≤ {short(limit.value)}"
    if limit.against:
        other = ours.median(limit.against)
        what = f"{limit.name} ≤ {short(limit.value)} × {limit.against}"
        if other is None:
            return Verdict(what, None, "not measured")
        at_most *= other
    return judge(what, ours.median(limit.name), at_most, False)


def short(value):
    """Three digits that matter; M and k for what is large."""
    if math.isinf(value):
        return "∞"
    for limit, unit, letter in ((999.5e6, 1e9, " G"), (999.5e3, 1e6, " M"), (9999.5, 1e3, " k")):
        if value >= limit:
            return three_digits(value / unit) + letter
    return three_digits(value)


def three_digits(value):
    if value >= 99.95 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
