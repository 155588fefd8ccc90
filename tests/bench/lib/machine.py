"""What a result was measured with and on: versions, and what else the machine did before the scenario and during it."""
import contextlib
import glob
import os
import platform
import re
import resource
import subprocess
import time

# What stands in a result by which of Debian's packages: the first that is installed.
PACKAGES = {"openssl": ("libssl3", "libssl3t64"), "libzmq": ("libzmq5",), "libevent": ("libevent-2.1-7", "libevent-2.1-7t64"), "libexpat": ("libexpat1",),
            "libsodium": ("libsodium23",), "libsasl2": ("libsasl2-2",), "gcc": ("gcc-12", "gcc-13", "gcc-14", "gcc"), "prosody": ("prosody",),
            "lua": ("lua5.4", "lua5.3", "lua5.2"), "ejabberd": ("ejabberd",), "erlang": ("erlang-base",), "jabberd2": ("jabberd2",)}
OF_PEERS = {"lua": "prosody", "prosody": "prosody", "erlang": "ejabberd", "ejabberd": "ejabberd", "jabberd2": "jabberd2"}   # and whose results have it
QUIET, LOOK_S, PATIENCE_S = 0.1, 3, 60   # the processors' share that may be busy, for how long that is looked at, and how long it is waited for


def said(*args):
    """A command's output, or nothing where it can't be had."""
    try:
        done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# What is measured, or measures, and the folders that it is built of.
PROGRAMS = {"gateway/ambrosia-gateway": ("common", "svcproto", "gateway"), "services/im/ambrosia-im": ("common", "svcproto", "services/im"),
            "tests/bench/bench_load": ("common", "tests/bench/load")}


def older(build, source):
    """Whether one of the programs was built before the sources that are there now."""
    for program, parts in PROGRAMS.items():
        files = (f for part in parts for f in glob.iglob(f"{source}/{part}/**/*.[ch]", recursive=True))
        if os.path.exists(f"{build}/{program}") and os.path.getmtime(f"{build}/{program}") < max(map(os.path.getmtime, files), default=0):
            return True
    return False


def ours(build):
    """Version, commit, -dirty where files differ from it, and whether one of the programs was built before the sources that are there now."""
    words, source = [said(f"{build}/gateway/ambrosia-gateway", "--version").rpartition(" ")[2] or "?"], None
    with contextlib.suppress(OSError), open(f"{build}/CMakeCache.txt") as f:
        source = next((line.partition("=")[2].strip() for line in f if line.startswith("CMAKE_HOME_DIRECTORY:")), None)
    if source and (commit := said("git", "-c", "safe.directory=*", "-C", source, "describe", "--always", "--dirty")):
        words.append(commit)
        if older(build, source):
            words.append("(built of older sources)")
    return " ".join(words)


def versions(build):
    with open("/proc/cpuinfo") as f:
        cpu = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "?")
    found = {"ambrosia": ours(build), "kernel": platform.release(), "cpu": cpu, "cores": os.cpu_count()}
    for name, packages in PACKAGES.items():
        for package in packages:
            if (version := said("dpkg-query", "-W", "-f", "${Version}", package)):
                found[name] = version
                break
    return found


def versions_of(found, stack):
    """Those that a result of this stack depends on. The load is ours in each."""
    return {name: version for name, version in found.items() if OF_PEERS.get(name, stack) in stack}


def ticks():
    """(all, busy, stolen) of all processors since the machine's start, in seconds."""
    with open("/proc/stat") as f:
        user, nice, system, idle, iowait, irq, softirq, steal = (int(word) / os.sysconf("SC_CLK_TCK") for word in f.readline().split()[1:9])
    busy = user + nice + system + irq + softirq
    return busy + steal + idle + iowait, busy, steal


def pressure():
    """Seconds for which somebody waited for a processor; None: the kernel does not count."""
    try:
        with open("/proc/pressure/cpu") as f:
            return int(re.search(r"some .*total=(\d+)", f.read()).group(1)) / 1e6
    except (OSError, AttributeError):
        return None


def used():
    """CPU seconds of this program and of all that it started and has seen the end of."""
    return sum(one.ru_utime + one.ru_stime for one in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


class Watch:
    """Since it was made: shares of the processors, but `pressure`, which is one of time."""

    def __init__(self):
        self.at, self.ticks, self.pressure, self.used = time.monotonic(), ticks(), pressure(), used()

    def seen(self):
        whole, busy, steal = (now - then for now, then in zip(ticks(), self.ticks))
        shares = {"load": os.getloadavg()[0], "others": max(busy - used() + self.used, 0) / (whole or 1), "steal": steal / (whole or 1)}
        if self.pressure is not None:
            shares["pressure"] = (pressure() - self.pressure) / (time.monotonic() - self.at)
        return {name: round(value, 3) for name, value in shares.items()}


def settle(wait=True):
    """Waits until nothing else runs to speak of, but not for ever: what ran in the last seconds, and for how long it was waited."""
    began = time.monotonic()
    while True:
        watch = Watch()
        time.sleep(LOOK_S if wait else 0.1)
        seen = watch.seen()
        seen["quiet"] = seen["others"] + seen["steal"] <= QUIET
        seen["waited_s"] = round(time.monotonic() - began, 1)
        if not wait or seen["quiet"] or seen["waited_s"] > PATIENCE_S:
            return seen
