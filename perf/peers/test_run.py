#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the orchestrator of ./dev peers: what it computes, what it writes, and how it runs a program. `./dev test
tree/peers` runs them."""
import os
import sys
import time
import unittest
import unittest.mock
import xml.etree.ElementTree as xml
from pathlib import Path
from types import SimpleNamespace

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import chart  # noqa: E402
import figures  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402
import runtimes  # noqa: E402
from cases import Case, Limit, Malformed, read_cases, read_limits, read_notes  # noqa: E402

PING = Case("ping_pong", "ns/message", True, 1000, 4.0, "two actors")
RATE = Case("counting", "messages/s", False, 1000, 2.5, "a counter")


def run(case, runtime, *values, outcome="done", why="", number=1, seconds=1.0, peak=2048):
    """A record of a run; further values are of a figure CASE_p99."""
    names = [case.name, f"{case.name}_p99"]
    lines = [[name, value, case.unit] for name, value in zip(names, values)]
    record = {"round": number, "case": case.name, "runtime": runtime, "outcome": outcome, "seconds": seconds}
    return {**record, "figures": lines, "peak_kib": peak} if outcome == "done" else {**record, "why": why}


class Tables(unittest.TestCase):
    def test_reads_cases(self):
        ping, idle = "ping_pong\tns/message\tless\t1000\t4\ttwo actors\n", "idle\tw\tmore\t5\t-\tnothing\n"
        cases = read_cases("# comment\n" + ping + idle)
        self.assertEqual(cases[0], PING)
        self.assertIsNone(cases[1].required)
        self.assertFalse(cases[1].less)

    def test_refuses_what_is_no_table(self):
        for text in ("a\tb\n", "a\tb\tmost\t5\t-\tx\n", "a\tb\tless\tmany\t-\tx\n", "a\tb\tless\t1\t-\tx\n" * 2):
            with self.assertRaises(Malformed):
                read_cases(text)
        with self.assertRaises(Malformed):
            read_limits("a\ta\tratio\t10\t-\n")

    def test_tables_of_the_tree_fit_together(self):
        cases = read_cases((HERE.parent / "cases.tsv").read_text(encoding="utf-8"))
        names = [case.name for case in cases]
        for limit in read_limits((HERE / "limits.tsv").read_text(encoding="utf-8")):
            self.assertIn(limit.case, names)
        for key in read_notes((HERE / "NOTES.md").read_text(encoding="utf-8")):
            self.assertIn(key, names + ["about"])

    def test_notes_are_cut_at_headings(self):
        self.assertEqual(read_notes("top\n## a\none\ntwo\n\n## b\nthree\n"), {"a": "one\ntwo", "b": "three"})


class Output(unittest.TestCase):
    def test_units_may_have_blanks(self):
        case = Case("timers", "CPU ns/timer", True, 1, 10.0, "")
        lines = figures.parse_output("timers 900.5 CPU ns/timer\n\ntimers_late_p99 0.4 ms\n", case)
        self.assertEqual(figures.parse_output("timers 900.5 ns/timer", case), lines[:1])
        self.assertEqual(lines, [("timers", 900.5, "CPU ns/timer"), ("timers_late_p99", 0.4, "ms")])

    def test_refuses_other_output(self):
        for text in ("", "ping_pong 5\n", "ping_pong five ns/message\n", "other 5 ns/message\n", "ping_pong 5 ms\n", "ping_pong 5 message\n",
                     "ping_pong nan ns/message\n", "ping_pong -1 ns/message\n", "ping_pong 5 ns/message\nhello\n"):
            with self.assertRaises(Malformed, msg=text):
                figures.parse_output(text, PING)


class Arithmetic(unittest.TestCase):
    def test_median(self):
        self.assertEqual(figures.median([9, 1, 5]), 5)
        self.assertEqual(figures.median([4, 1, 2, 100]), 3)

    def test_ratio_is_how_much_better_the_first_is(self):
        self.assertEqual(figures.ratio(10, 40, True), 4)
        self.assertEqual(figures.ratio(40, 10, False), 4)
        self.assertEqual(figures.ratio(40, 10, True), 0.25)
        self.assertEqual(figures.ratio(0, 0, True), 1)
        self.assertEqual(figures.ratio(0, 5, True), float("inf"))
        self.assertEqual(figures.ratio(5, 0, True), 0)
        self.assertIsNone(figures.ratio(None, 5, True))

    def test_short_figures(self):
        for value, text in ((0, "0"), (0.284, "0.28"), (9.99, "9.99"), (9.999, "10.0"), (132.4, "132"), (1496, "1496"),
                            (12345, "12.3 k"), (999900, "1.00 M"), (5.3e6, "5.30 M"), (float("inf"), "∞")):
            self.assertEqual(figures.short(value), text)


class Comparison(unittest.TestCase):
    RUNS = [run(PING, "troupe", 40.0), run(PING, "troupe", 50.0), run(PING, "troupe", 60.0), run(PING, "go", 200.0),
            run(PING, "caf", 400.0), run(PING, "tokio_supervised", 55.0),
            run(PING, "erlang", outcome="absent", why="none")]

    def test_best_peer_is_the_nearest_and_the_supervised_design_is_none(self):
        self.assertEqual(figures.best_peer(figures.collect(self.RUNS), PING), ("go", 4.0))
        runs = [run(RATE, "troupe", 100.0), run(RATE, "go", 20.0), run(RATE, "caf", 50.0)]
        self.assertEqual(figures.best_peer(figures.collect(runs), RATE), ("caf", 2.0))

    def test_nobody_to_compare_with(self):
        runs = [run(PING, "go", 200.0), run(PING, "troupe", outcome="failed", why="it broke")]
        self.assertEqual(figures.best_peer(figures.collect(runs), PING), (None, None))
        self.assertIsNone(figures.verdicts(figures.collect(runs), PING, [])[0].reached)

    def test_verdict_on_the_required_ratio(self):
        series = figures.collect(self.RUNS)
        self.assertEqual(figures.verdicts(series, PING, [])[0].text, "reached")
        self.assertEqual(figures.verdicts(series, Case("ping_pong", "ns/message", True, 1, 4.5, ""), [])[0].text,
                         "missed: 4 of 4.50")

    def test_limits_beside_the_ratio(self):
        runs = self.RUNS + [run(PING, "troupe", 50.0, 66.0)]
        limits = [Limit("ping_pong", "ping_pong", "at_most", 50, None),
                  Limit("ping_pong", "ping_pong", "at_most", 49, None),
                  Limit("ping_pong", "ping_pong_p99", "at_most", 1.4, "ping_pong"),
                  Limit("ping_pong", "ping_pong_p99", "at_most", 1.2, "ping_pong"),
                  Limit("ping_pong", "ping_pong", "ratio", 1.2, "tokio_supervised"),
                  Limit("other", "x", "at_most", 0, None)]
        found = figures.verdicts(figures.collect(runs), PING, limits)
        self.assertEqual([verdict.reached for verdict in found], [True, True, False, True, False, False])
        self.assertEqual(found[5].text, "missed: 1.10 of 1.20")


class Page(unittest.TestCase):
    DATA = {"about": {"machine": "one", "command": "`./dev peers`"}, "date": "today", "rounds": 3, "workers": 2,
            "runtimes": ["troupe", "caf", "erlang", "go", "tokio_supervised"], "versions": {"go": ["golang-go 1"]},
            "runs": Comparison.RUNS + [run(PING, "go", outcome="late", why="stopped after 120 s")]}

    def test_cells(self):
        page = report.render(self.DATA, [PING], [], {})
        self.assertIn("| **50** [40–60] | go, 200 | 4 × | 4 × the best peer | reached |", page)
        self.assertIn("| troupe | **50** [40–60] | 2 | – | 3 |", page)
        self.assertIn("| caf | **400** [400–400] | 2 | 8 × | 1 |", page)
        self.assertIn("| erlang | – | – | – | none: none |", page)
        self.assertIn("1; 1 went wrong: stopped after 120 s", page)
        self.assertIn("golang-go 1", page)

    def test_a_missed_case_is_explained_and_no_other(self):
        hard = Case("ping_pong", "ns/message", True, 1, 9.0, "two actors")
        notes = {"ping_pong": "because of the cache"}
        self.assertIn("because of the cache", report.render(self.DATA, [hard], [], notes))
        self.assertNotIn("because of the cache", report.render(self.DATA, [PING], [], notes))
        self.assertIn("Not explained yet", report.render(self.DATA, [hard], [], {}))
        self.assertEqual(report.unexplained(self.DATA, [hard], [], {}), ["ping_pong"])
        self.assertEqual(report.unexplained(self.DATA, [hard], [], notes), [])

    def test_chart_is_xml_with_a_bar_for_each_ratio(self):
        tree = xml.fromstring(chart.render(self.DATA, [PING, RATE]))
        titles = [title.text for title in tree.iter("{http://www.w3.org/2000/svg}title")]
        self.assertEqual(titles, ["ping_pong: 8 times as good as caf", "ping_pong: 4 times as good as go",
                                  "ping_pong: 1.10 times as good as tokio_supervised"])

    def test_places_on_the_scale(self):
        middle = chart.LEFT + chart.WIDTH / 2
        self.assertEqual(chart.place(10, 0, 2), middle)
        self.assertEqual(chart.place(1, -1, 1), middle)
        self.assertEqual(chart.place(1e9, 0, 2), chart.LEFT + chart.WIDTH)
        self.assertEqual(chart.place(0, 0, 2), chart.LEFT)


class Turns(unittest.TestCase):
    def test_everybody_is_first_once(self):
        self.assertEqual([measure.turns(["a", "b", "c"], number, 0)[0] for number in range(3)], ["a", "b", "c"])
        self.assertEqual(measure.turns(["a", "b", "c"], 0, 1), ["b", "c", "a"])

    def test_who_cannot_or_is_too_late_twice_is_not_asked_again(self):
        late = run(PING, "caf", outcome="late", why="stopped")
        self.assertFalse(measure.needless([late, run(PING, "go", 1.0)], PING, "caf"))
        self.assertTrue(measure.needless([late, late], PING, "caf"))
        self.assertTrue(measure.needless([run(PING, "go", outcome="absent", why="no")], PING, "go"))
        self.assertFalse(measure.needless([run(RATE, "go", outcome="absent", why="no")], PING, "go"))

    def test_time_left(self):
        runs = [run(PING, "go", 1.0, seconds=2.0), run(PING, "caf", 1.0, seconds=4.0)]
        ahead = [("ping_pong", "go"), ("ping_pong", "troupe"), ("counting", "go")]
        self.assertEqual(measure.seconds_left(runs, ahead), 2.0 + 3.0 + 3.0)
        self.assertEqual(measure.seconds_left([], ahead), 0)

    def test_rounds_run_everything_in_turns(self):
        saved = []
        command = lambda case: ["sh", "-c", f"echo {case.name} 5 {case.unit}"]  # noqa: E731
        commands = {"a": command, "b": command}
        plan = SimpleNamespace(rounds=2, limit=20.0)
        runs = measure.rounds(plan, [PING, RATE], commands, lambda text, lasting: None,
                              lambda runs: saved.append(len(runs)))
        self.assertEqual([(one["case"], one["runtime"]) for one in runs],
                         [("ping_pong", "a"), ("ping_pong", "b"), ("counting", "b"), ("counting", "a"),
                          ("ping_pong", "b"), ("ping_pong", "a"), ("counting", "a"), ("counting", "b")])
        self.assertEqual(saved, [4, 8])

    def test_rounds_tell_how_long_is_left(self):
        said = []
        record = {"outcome": "done", "figures": [["any", 1.0, "x"]], "peak_kib": 1, "seconds": 10.0}
        with unittest.mock.patch.object(measure, "run_once", lambda *_: dict(record)):
            measure.rounds(SimpleNamespace(rounds=2, limit=1.0), [PING, RATE], dict.fromkeys("ab", lambda case: []),
                           lambda text, lasting: said.append(text) if lasting else None, lambda runs: None)
        self.assertEqual([text.split("; about ")[1] for text in said], ["60 s left", "40 s left", "20 s left", "0 s left"])


class Programs(unittest.TestCase):
    def once(self, script, limit=20.0):
        return measure.run_once(["sh", "-c", script], PING, limit)

    def test_done(self):
        record = self.once("echo ping_pong 5 ns/message")
        self.assertEqual((record["outcome"], record["figures"]), ("done", [("ping_pong", 5.0, "ns/message")]))

    def test_absent_failed_and_killed(self):
        self.assertEqual(self.once("echo 'no timers here' >&2; exit 3")["why"], "no timers here")
        self.assertEqual(self.once("exit 3")["outcome"], "absent")
        self.assertEqual(self.once("echo first >&2; echo oh >&2; exit 1")["why"], "exit status 1: oh")
        self.assertEqual(self.once("kill -SEGV $$")["why"], "ended by SIGSEGV")
        self.assertEqual(self.once("echo nonsense")["outcome"], "failed")
        self.assertEqual(measure.run_once(["/nowhere"], PING, 1)["outcome"], "failed")

    def test_too_late(self):
        began = time.monotonic()
        self.assertEqual(self.once("sleep 60", limit=0.2), {"outcome": "late", "why": "stopped after 0.2 s",
                                                            "seconds": unittest.mock.ANY})
        self.assertLess(time.monotonic() - began, 30)

    def test_nothing_is_left_behind(self):
        record = self.once("sleep 60 & echo $! >&2; exit 3")
        status = Path(f"/proc/{record['why']}/status")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and status.exists() and "State:\tZ" not in status.read_text(encoding="ascii"):
            time.sleep(0.01)
        self.assertTrue(not status.exists() or "State:\tZ" in status.read_text(encoding="ascii"))

    def test_peak_memory_is_the_program_s_own(self):
        small = self.once("sleep 0.1; echo ping_pong 5 ns/message")["peak_kib"]
        self.assertTrue(100 < small < measure.own_peak() / 2, small)
        script = "x = bytearray(200 << 20)\nprint('ping_pong 5 ns/message')"
        large = measure.run_once([sys.executable, "-c", script], PING, 60)["peak_kib"]
        self.assertTrue(200 << 10 < large < 300 << 10, large)


class Packages(unittest.TestCase):
    def test_what_is_there_is_preferred(self):
        self.assertEqual(runtimes.choose("rustc-web | rustc", {"rustc": "1.63"}), "rustc")
        self.assertEqual(runtimes.choose("rustc-web | rustc", {}), "rustc-web")
        self.assertEqual(runtimes.choose("g++", {}), "g++")

    def test_every_peer_is_complete(self):
        for peer in runtimes.known():
            self.assertTrue(os.access(HERE / peer / "build", os.X_OK), peer)
            self.assertTrue((HERE / peer / "packages").exists(), peer)


if __name__ == "__main__":
    unittest.main()
