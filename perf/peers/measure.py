# SPDX-License-Identifier: Apache-2.0
"""Runs programs, one at a time: one measurement each, within a limit of time, with its peak of resident memory. Then
the rounds, in turns. Processes are ended by the id of the group that was started for them, and no others."""
import os
import signal
import subprocess
import tempfile
import time

from cases import Malformed
from figures import ABSENT, DONE, FAILED, LATE, parse_output

LATE_TWICE = 2  # who was too late that often is not asked again: each time costs the whole limit


def own_peak():
    return peak_of("self")


def peak_of(process):
    """Peak of resident memory in KiB as the kernel keeps it for a program that runs; 0: it is gone."""
    try:
        with open(f"/proc/{process}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def wait(process, limit):
    """Wait status (None: it was too late and is ended), peak in KiB. A process that is started by another one inherits
    the starter's peak in its rusage, so for programs smaller than this one that figure is useless; for those the
    kernel's own is read now and then while they run."""
    deadline, seen, pause = time.monotonic() + limit, 0, 0.001
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            peak = usage.ru_maxrss if usage.ru_maxrss > own_peak() or not seen else seen
            return status, peak
        seen = max(seen, peak_of(process.pid))
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            os.wait4(process.pid, 0)
            return None, seen
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def end(process):
    """Whatever it left behind: what it started is in its group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def run_once(command, case, limit):
    """One measurement: a record of how it ended."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True)
        except OSError as error:
            return {"outcome": FAILED, "why": f"{command[0]}: {error.strerror}", "seconds": 0.0}
        try:
            status, peak = wait(process, limit)
        except BaseException:
            end(process)
            os.wait4(process.pid, 0)
            process.returncode = -signal.SIGKILL
            raise
        end(process)
        process.returncode = 0  # it is waited for
        record = outcome(status, text_of(output), text_of(errors), case, limit)
    record["seconds"] = round(time.monotonic() - began, 3)
    if record["outcome"] == DONE:
        record["peak_kib"] = peak
    return record


def text_of(file):
    file.seek(0)
    return file.read().decode(errors="replace")


def outcome(status, output, errors, case, limit):
    """What the end of a process means; status as of wait4, None: it was too late."""
    said = (errors.strip().splitlines() or [""])[-1][:200]
    if status is None:
        return {"outcome": LATE, "why": f"stopped after {limit:g} s"}
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return {"outcome": FAILED, "why": f"ended by {name}" + (said and f": {said}")}
    code = os.WEXITSTATUS(status)
    if code == 3:
        return {"outcome": ABSENT, "why": said or "it has no such case"}
    if code != 0:
        return {"outcome": FAILED, "why": f"exit status {code}" + (said and f": {said}")}
    try:
        return {"outcome": DONE, "figures": parse_output(output, case)}
    except Malformed as error:
        return {"outcome": FAILED, "why": str(error)}


def turns(runtimes, round_number, case_number):
    """Who goes first changes with every case and every round."""
    first = (round_number + case_number) % len(runtimes)
    return runtimes[first:] + runtimes[:first]


def needless(runs, case, runtime):
    """Is there nothing to be learned by running it again?"""
    outcomes = [run["outcome"] for run in runs if run["case"] == case.name and run["runtime"] == runtime]
    return ABSENT in outcomes or outcomes.count(LATE) >= LATE_TWICE


def seconds_left(runs, ahead):
    """What the pairs of case and runtime that lie ahead will take: as long as before; if they are new as long as others
    took for the case; and if the case is new as long as all took on average."""
    took = {}
    for run in runs:
        for key in ((run["case"], run["runtime"]), run["case"], None):
            took.setdefault(key, []).append(run["seconds"])
    left = 0.0
    for case, runtime in ahead:
        known = took.get((case, runtime)) or took.get(case) or took.get(None) or [0.0]
        left += sum(known) / len(known)
    return left


def rounds(plan, cases, commands, say, save):
    """All of them. commands: by runtime, (case, workers) -> command. Gives the list of runs."""
    runs, runtimes = [], list(commands)
    ahead = [(case.name, runtime) for case in cases for runtime in runtimes]
    for number in range(plan.rounds):
        for position, case in enumerate(cases):
            for runtime in turns(runtimes, number, position):
                if needless(runs, case, runtime):
                    continue
                say(f"round {number + 1} of {plan.rounds}, {case.name}: {runtime} ...", lasting=False)
                record = run_once(commands[runtime](case), case, plan.limit)
                runs.append({"round": number + 1, "case": case.name, "runtime": runtime, **record})
            this_round = ahead[(position + 1) * len(runtimes):]
            left = seconds_left(runs, this_round + ahead * (plan.rounds - number - 1))
            say(f"round {number + 1} of {plan.rounds}, {case.name}: {in_short(runs, case, number + 1)}; "
                f"about {minutes(left)} left", lasting=True)
        save(runs)
    return runs


def in_short(runs, case, number):
    parts = []
    for run in runs:
        if run["case"] == case.name and run["round"] == number:
            text = f"{run['figures'][0][1]:.4g}" if run["outcome"] == DONE else run["outcome"]
            parts.append(f"{run['runtime']} {text}")
    return ", ".join(parts)


def minutes(seconds):
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
