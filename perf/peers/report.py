# SPDX-License-Identifier: Apache-2.0
"""perf/RESULTS.md out of a run's data. Pure: text in, text out."""
from cases import TROUPE, UNCOUNTED
from figures import Series, best_peer, collect, median, ratio, short, verdicts

ARROW = {True: "↓", False: "↑"}


def spread(values):
    return f"**{short(median(values))}** [{short(min(values))}–{short(max(values))}]"


def times(value):
    return "–" if value is None else f"{short(value)} ×"


def table(header, lines):
    rows = ["| " + " | ".join(line) + " |" for line in [header] + lines]
    return rows[:1] + ["|" + "---|" * len(header)] + rows[1:]


def summary(series, cases, limits):
    lines = []
    for case in cases:
        ours = series.get((case.name, TROUPE), Series())
        peer, against = best_peer(series, case)
        found = verdicts(series, case, limits)
        best = "–" if peer is None else f"{peer}, {short(series[(case.name, peer)].median(case.name))}"
        lines.append([
            f"[{case.name}](#{case.name}), {case.unit} {ARROW[case.less]}",
            spread(ours.values[case.name]) if ours.values.get(case.name) else "–",
            best,
            times(against),
            "<br>".join(verdict.what for verdict in found) or "–",
            "<br>".join(verdict.text for verdict in found) or "–",
        ])
    return table(["case", "Troupe", "best other runtime", "Troupe is better by", "required", "verdict"], lines)


def names_of(series, case, runtimes):
    """The figures of a case, its own first, in the order in which they turned up, with their units."""
    units = {case.name: case.unit}
    for runtime in runtimes:
        units.update(series.get((case.name, runtime), Series()).units)
    return units


def case_table(series, case, runtimes):
    ours = series.get((case.name, TROUPE), Series())
    names = names_of(series, case, runtimes)
    header = ["runtime"] + [
        f"{name}, {unit}" + (f" {ARROW[case.less]}" if name == case.name else "") for name, unit in names.items()
    ] + ["peak memory, MiB", "Troupe is better by", "runs"]
    lines = []
    for runtime in runtimes:
        one = series.get((case.name, runtime), Series())
        figures = [spread(one.values[name]) if one.values.get(name) else "–" for name in names]
        against = None if runtime == TROUPE else ratio(ours.median(case.name), one.median(case.name), case.less)
        peak = short(median(one.peaks) / 1024) if one.peaks else "–"
        lines.append([runtime] + figures + [peak, times(against), account(one)])
    return table(header, lines)


def account(one):
    """How many runs there are, and what became of the others."""
    if one.absent:
        return f"none: {cell(one.absent)}"
    if one.troubles:
        return f"{len(one.peaks)}; {len(one.troubles)} went wrong: {cell('; '.join(sorted(set(one.troubles))))}"
    return str(len(one.peaks))


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def section(series, case, runtimes, limits, notes):
    found = verdicts(series, case, limits)
    lines = [f"### {case.name}", "", f"{case.what[:1].upper()}{case.what[1:]}. Size {case.size}.", ""]
    lines += case_table(series, case, runtimes)
    if found:
        lines += [""] + ["- " + f"{verdict.what}: {verdict.text}" for verdict in found]
    if any(verdict.reached is False for verdict in found):
        lines += ["", notes.get(case.name) or "Not explained yet: `perf/peers/NOTES.md` says nothing on it."]
    return lines + [""]


def unexplained(data, cases, limits, notes):
    """Cases that miss something without a word on it."""
    series = collect(data["runs"])
    missed = [case for case in cases if any(v.reached is False for v in verdicts(series, case, limits))]
    return [case.name for case in missed if not notes.get(case.name)]


def render(data, cases, limits, notes):
    """The whole page. data: what the orchestrator keeps in build/peers/last.json."""
    series, runtimes = collect(data["runs"]), data["runtimes"]
    counted = [runtime for runtime in runtimes if runtime != TROUPE and runtime not in UNCOUNTED]
    lines = ["<!-- SPDX-License-Identifier: Apache-2.0 -->"]
    lines += ["<!-- Written by ./dev peers; the texts on cases are in perf/peers/NOTES.md. -->"]
    lines += ["# Troupe and its peers, measured in one run", ""]
    lines += [f"- {name}: {value}" for name, value in data["about"].items()]
    beside = [runtime for runtime in runtimes if runtime in UNCOUNTED]
    lines += ["", f"Median [least–most] of {data['rounds']} rounds. Each measurement is a process of its own; the "
              "runtimes take turns. ↓ less is better, ↑ more is better. Peak memory is the median of the processes' peaks.",
              f"The best other runtime is the best of {', '.join(counted) or 'none'}"
              + (f"; {', '.join(beside)} is shown beside them." if beside else "."), ""]
    lines += ["![How many times as good Troupe is, by case and peer](results.svg)", "", "## Summary", ""]
    lines += summary(series, cases, limits) + ["", "## Cases", ""]
    for case in cases:
        lines += section(series, case, runtimes, limits, notes)
    lines += ["## Versions", ""] + [f"- {name}: {', '.join(packages)}" for name, packages in data["versions"].items()]
    if notes.get("about"):
        lines += ["", "## About the peers", "", notes["about"]]
    return "\n".join(lines) + "\n"
