# SPDX-License-Identifier: Apache-2.0
"""Who is compared: the folders of perf/peers, their packages, how they are built and which versions they are. Also what
the machine is. Reads the machine; what it runs are the peers' build scripts, git and dpkg-query."""
import os
import platform
import re
import subprocess
from pathlib import Path

from cases import TROUPE

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "perf" / "peers"
WORK = ROOT / "build" / "peers"
TROUPE_PROGRAM = ROOT / "build" / "release" / "perf" / "troupe_bench"


class Trouble(Exception):
    """What the user has to be told, with what to do."""


def known():
    return sorted(folder.name for folder in PEERS.iterdir() if (folder / "build").is_file())


def command_of(runtime, workers, size_of):
    program = TROUPE_PROGRAM if runtime == TROUPE else WORK / runtime / "run"
    return lambda case: [str(program), case.name, "--workers", str(workers), "--size", str(size_of(case))]


# --- packages --------------------------------------------------------------------------------------------------------


def installed(packages):
    """Versions of those that are installed. A machine without dpkg has none to tell of."""
    try:
        answer = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package} ${Version}\n", *packages],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    except OSError:
        return {}
    lines = (line.split() for line in answer.stdout.splitlines())
    return {fields[1]: fields[2] for fields in lines if len(fields) == 3 and fields[0] == "installed"}


def choose(line, there):
    """Of `A | B` the first that is there, else A."""
    names = [name.strip() for name in line.split("|")]
    return next((name for name in names if name in there), names[0])


def packages_of(peers):
    """Debian packages of each: one per line of its file, or `A | B`: either will do, and A is the better one."""
    lines = {}
    for peer in peers:
        path = PEERS / peer / "packages"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        lines[peer] = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    every = {name.strip() for some in lines.values() for line in some for name in line.split("|")}
    there = installed(sorted(every)) if every else {}
    return {peer: [choose(line, there) for line in some] for peer, some in lines.items()}, there


def versions(peers):
    chosen, there = packages_of(peers)
    ours = installed(["gcc", "liburing-dev"])
    found = {TROUPE: [troupe_version(), *(f"{name} {version}" for name, version in ours.items())]}
    for peer in peers:
        found[peer] = [f"{name} {there.get(name, '(not by dpkg)')}" for name in chosen[peer]]
    return found


def troupe_version():
    text = said(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"])
    return f"commit {text}" if text else "no git here"


def said(command):
    try:
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    except OSError:
        return ""
    return answer.stdout.strip()


# --- building --------------------------------------------------------------------------------------------------------


def build(peer, say):
    """Compiles it, unless that fails; what the compiler said is in a log."""
    out = WORK / peer
    out.mkdir(parents=True, exist_ok=True)
    log = WORK / f"{peer}.log"
    say(f"building {peer}", lasting=True)
    with open(log, "w", encoding="utf-8") as text:
        status = subprocess.run([str(PEERS / peer / "build"), str(out)], stdin=subprocess.DEVNULL, stdout=text,
                                stderr=subprocess.STDOUT, check=False).returncode
    if status != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise Trouble(f"{tail}\nbuilding {peer} failed (status {status}); all of it is in {log.relative_to(ROOT)}\n"
                      f"  what to do: mend that, or leave it out: --peer names those to compare with")
    if not os.access(out / "run", os.X_OK):
        raise Trouble(f"{peer} was built, but there is no program {(out / 'run').relative_to(ROOT)}")


# --- the machine -----------------------------------------------------------------------------------------------------


def read(path, pattern):
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return found and found.group(1)


def machine():
    model = read("/proc/cpuinfo", r"^model name\s*:\s*(.+)$") or platform.machine()
    memory = int(read("/proc/meminfo", r"^MemTotal:\s*(\d+)") or 0) / 1048576
    system = read("/etc/os-release", r'^PRETTY_NAME="?([^"\n]+)') or "unknown system"
    load = " ".join(f"{part:.1f}" for part in os.getloadavg())
    cpus = len(os.sched_getaffinity(0))
    return f"{cpus} CPUs of {model}, {memory:.0f} GiB, {system}, Linux {platform.release()}; load before {load}"
