"""What a stack costs while the load runs: CPU seconds and memory of its processes, and the load itself."""
import contextlib
import json
import os
import selectors
import subprocess

TICKS = os.sysconf("SC_CLK_TCK")


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as f:
            found += [int(word) for word in f.read().split()]
    return found


def tree(pid):
    pids = [pid]
    for pid in pids:
        pids += children(pid)
    return pids


def cpu_seconds(pid):
    total = 0
    for one in tree(pid):
        with open(f"/proc/{one}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def pss_kib(pid):
    total = 0
    for one in tree(pid):
        with open(f"/proc/{one}/smaps_rollup") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total


def cpu(stack):
    return {part: cpu_seconds(process.pid) for part, process in stack.processes.items()}


def pss(stack):
    return {part: pss_kib(process.pid) for part, process in stack.processes.items()}


def private_kib(stack, part):
    """What goes when the part does, without the pages that it has in common with others."""
    found = 0
    for one in tree(stack.processes[part].pid):
        with open(f"/proc/{one}/smaps_rollup") as f:
            found += sum(int(line.split()[1]) for line in f if line.startswith("Private_"))
    return found


def less(after, before):
    return {part: after[part] - before.get(part, 0) for part in after}


class Failed(Exception):
    """The load saw a loss, a disorder or a refusal."""


class Load:
    """bench_load: commands in, a dictionary for each out."""

    def __init__(self, build, place, targets, clients=0):
        self.process = subprocess.Popen([f"{build}/tests/bench/bench_load", place.ca, str(clients), str(place.users), *targets], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=dict(os.environ, BENCH_PASSWORD=place.password))
        self.suites = set()   # of TLS, as it was negotiated

    def begin(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()

    def answer(self, seconds=900, forgive=False):
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            if not ready.select(seconds):
                raise Failed(f"the load said nothing for {seconds} s")
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the load ended with status {self.process.wait()}")
        answer = json.loads(line)
        if answer.get("suite"):
            self.suites.add(answer["suite"])
        if answer.get("errors") and not forgive:
            raise Failed(f"{answer['command']}: {answer['errors']} errors, the first: {answer['error']}")
        return answer

    def do(self, *words, forgive=False):
        self.begin(*words)
        return self.answer(forgive=forgive)

    def measured(self, stack, *words, forgive=False):
        """The command's answer with `cpu`: seconds by part. `forgive`: what fails is in the answer's `errors`, and no exception."""
        before = cpu(stack)
        answer = self.do(*words, forgive=forgive)
        answer["cpu"] = less(cpu(stack), before)
        return answer

    def end(self):
        """After all was well: nothing may have come behind the last message that was awaited."""
        self.do("strays")
        self.stop()

    def stop(self):
        """However far it is; more than once does nothing."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
