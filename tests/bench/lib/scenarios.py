"""What is measured of one stack at a time. Each scenario takes (context, kind of stack) and returns {name: figure}; any loss, disorder or refusal raises."""
import json
import resource
import subprocess
import time

from measure import Failed, Load, cpu, less, pss
from stacks import DOMAIN, LARGE, Ours, Stack

PAIRS, BODY, WINDOW = 50, 200, 8
LARGE_PAIRS = 4
FIELDS = ("p50_ms", "p99_ms", "max_ms")   # of latencies
DELAYED_OF = 1000    # messages of a closed loop, of which one may be stored first
SETTLE_S = 1         # for which nobody comes after logouts, where logouts break logins
WORN_TRIES, WORN_MOST = 3, 1.15   # times that ours may be above, and how many times the CPU of a fresh login by its floor a worn one may take
GROWN_KIB = 4096     # what the wear's logins may leave in our processes: 110 bytes each
IDLE_LOST = 200      # clients in whose place others may come
SPARE_FILES = 400   # what the load, or any of the servers, opens beside a descriptor for each client


class Sizes:
    """How much: for figures, or just enough to see that all works."""

    def __init__(self, smoke):
        self.users = 40 if smoke else 2000
        self.logins, self.at_once, self.wear = (40, 10, 400) if smoke else (2000, 50, 50000)
        most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_FILES, 50000)
        self.idle = (20, 60) if smoke else (2000, 10000, *((most,) if most > 10000 else ()))
        self.idle_seconds = 1 if smoke else 60
        self.pairs = 4 if smoke else PAIRS
        self.each, self.busy_seconds = (100, 0) if smoke else (1000, 6)
        self.rates = (200,) if smoke else (1000, 2000)
        self.seconds = 1 if smoke else 10
        self.singles = 50 if smoke else 3000
        self.large = ((60 << 10, 2),) if smoke else ((200 << 10, 10), (1 << 20, 2))
        self.services = (1, 3) if smoke else (1, 10, 100)
        self.gateways = (1, 2) if smoke else (1, 2, 4, 8)
        self.storm, self.quiet_seconds = (40, 1) if smoke else (10000, 30)
        self.smoke = smoke


class Context:
    def __init__(self, place, build, sizes):
        self.place, self.build, self.sizes = place, build, sizes
        self.started, self.loads = [], []

    def stack(self, kind, *args, **kwargs):
        stack = kind(self.place, self.build)
        self.started.append(stack)
        stack.start(*args, **kwargs)
        return stack

    def suites(self):
        """Of TLS, all that the loads negotiated."""
        return set().union(*(load.suites for load in self.loads))

    def sweep(self):
        """What a scenario that failed has left running."""
        for load in self.loads:
            load.stop()
        for stack in self.started:
            stack.stop()
        self.started, self.loads = [], []

    def load(self, targets, clients):
        """`targets`: a stack, or DOMAIN:PORT of each."""
        alone = isinstance(targets, Stack)
        self.loads.append(Load(self.build, self.place, [f"{DOMAIN}:{targets.ports[0]}"] if alone else targets, clients))
        if alone and targets.mechanism:
            self.loads[-1].do("mechanism", targets.mechanism)
        return self.loads[-1]


def total(parts):
    return sum(parts.values())


def parts_of(name, parts, scale, figures):
    """The sum under `name`, and each part's own when there are several."""
    figures[name] = total(parts) * scale
    if len(parts) > 1:
        for part, value in parts.items():
            figures[f"{name}.{part}"] = value * scale


def one_login_round(load, stack, sizes, mechanism, figures, name):
    """Logins and logouts, `at_once` under way. Where logouts break others' logins, all come before they go, and nobody comes while any go."""
    before = cpu(stack)
    if stack.logouts_break_logins:
        load.do("mechanism", mechanism)
        answer = load.do("connect", sizes.logins, sizes.at_once, 0, forgive=True)
        answer["seconds"] += load.do("close")["seconds"]
        time.sleep(SETTLE_S)
    else:
        answer = load.do("login", sizes.logins, sizes.at_once, mechanism)
    done = answer["login"]["nr"]
    parts_of(f"{name}.cpu_ms", less(cpu(stack), before), 1000 / done, figures)
    figures[f"{name}.per_s"] = done / answer["seconds"]
    figures[f"{name}.p50_ms"], figures[f"{name}.p99_ms"] = answer["login"]["p50_ms"], answer["login"]["p99_ms"]
    figures[f"{name}.lost"] = answer["errors"]


def said(context, program, *args):
    """A program's line of microseconds, in milliseconds."""
    done = subprocess.run([f"{context.build}/tests/bench/{program}", *map(str, args)], stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise Failed(f"{program} ended with status {done.returncode}")
    return {name: us / 1000 for name, us in json.loads(done.stdout).items()}


def floor(context):
    """The least that TCP, TLS and SCRAM cost for a login here and now."""
    certificate = f"{context.place.folder}/certs/{DOMAIN}"
    found = said(context, "bench_floor", f"{certificate}.crt", f"{certificate}.key", context.sizes.logins, context.sizes.at_once)
    return {f"floor.{name}.cpu_ms": ms for name, ms in found.items()}


def lateness(context):
    """By how much this machine is late to wake up who sleeps, here and now: a part of each latency."""
    return {f"floor.sleep.{name}_ms": ms for name, ms in said(context, "bench_late", context.sizes.singles // 3).items()}


def worn(load, context, stack, figures):
    """SCRAM-SHA-1 after so many logins. The first round's figures are kept, as of every stack. Ours is set against the fresh login, each by the floor of its
    moment; a busy machine makes times longer, so of a few rounds the least decides."""
    one_login_round(load, stack, context.sizes, "SCRAM-SHA-1", figures, "worn")
    if "floor.login.cpu_ms" not in figures:
        return
    fresh, seen, again = figures["SCRAM-SHA-1.cpu_ms"] / figures["floor.login.cpu_ms"], [], figures
    while True:
        seen.append(again["worn.cpu_ms"] / floor(context)["floor.login.cpu_ms"] / fresh)
        if context.sizes.smoke or seen[-1] <= WORN_MOST or len(seen) == WORN_TRIES:
            break
        again = {}
        one_login_round(load, stack, context.sizes, "SCRAM-SHA-1", again, "worn")
    figures["worn.to_fresh"] = min(seen)
    if min(seen) > WORN_MOST and not context.sizes.smoke:
        raise Failed(f"a login takes {min(seen):.2f} times what it took before {context.sizes.wear} of them, {WORN_MOST} are allowed")


def login(context, kind):
    """Each mechanism, cold and warm: the first login of each account, for which a server that keeps plain passwords derives a key, and the next ones, whose
    keys both sides may have at hand. SCRAM-SHA-1 and the memory again when there have been `wear` logins, unless that is 0. Beside ours, the floor."""
    sizes, figures = context.sizes, {}

    def rounds(load, stack, mechanisms):
        for mechanism in mechanisms:
            one_login_round(load, stack, sizes, mechanism, figures, f"{mechanism}.cold")
            one_login_round(load, stack, sizes, mechanism, figures, mechanism)

    if kind.one_hash:
        stack = context.stack(kind, hash="SHA-256")
        load = context.load(stack, sizes.logins)
        rounds(load, stack, ("SCRAM-SHA-256",))
        load.end()
        stack.stop()
    stack = context.stack(kind)
    load = context.load(stack, sizes.logins)
    mechanisms = ("PLAIN", "SCRAM-SHA-1") if kind.one_hash else ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-1")
    rounds(load, stack, mechanisms)
    if kind is Ours:
        figures.update(floor(context))
    done = len(mechanisms) * 2 * sizes.logins
    if sizes.wear > done and not kind.logouts_break_logins:
        before = pss(stack)
        load.do("login", sizes.wear - done, sizes.at_once, "SCRAM-SHA-1")
        worn(load, context, stack, figures)
        parts_of("worn.grown_kib", less(pss(stack), before), 1, figures)
        if kind is Ours and not sizes.smoke and figures["worn.grown_kib"] > GROWN_KIB:   # a sanitizer keeps what was freed
            raise Failed(f"{sizes.wear - done} logins left {figures['worn.grown_kib']} KiB, {GROWN_KIB} are allowed")
    load.end()
    stack.stop()
    return figures


def come(load, clients, at_once, again):
    """So many connect and stay; `again`: others in place of whom the server lost, IDLE_LOST at most."""
    lost, spare = load.do("connect", clients, at_once, 0, forgive=again)["errors"], IDLE_LOST
    while 0 < lost <= spare:
        spare -= lost
        lost = load.do("connect", lost, at_once, 0, forgive=True)["errors"]
    if lost:
        raise Failed(f"{lost} of {clients} clients were lost, after {IDLE_LOST - spare} others")


def idle(context, kind):
    """PSS for each client at each size and the slope between the first and the last; CPU while nothing happens."""
    sizes, figures = context.sizes, {}
    stack = context.stack(kind)
    load = context.load(stack, sizes.idle[-1] + IDLE_LOST)
    load.do("login", sizes.at_once, sizes.at_once, "SCRAM-SHA-1", forgive=kind.logouts_break_logins)   # what the first clients cost the process is no client's
    time.sleep(SETTLE_S if kind.logouts_break_logins else 0)
    empty, seen, connected = pss(stack), [], 0
    for size in sizes.idle:
        come(load, size - connected, sizes.at_once, kind.logouts_break_logins)
        connected = size
        time.sleep(0 if sizes.smoke else 5)   # whatever a server does behind a login's back
        now = pss(stack)
        seen.append(now)
        parts_of(f"{size}.kib", less(now, empty), 1 / size, figures)
    if len(seen) > 1:
        parts_of("slope.kib", less(seen[-1], seen[0]), 1 / (sizes.idle[-1] - sizes.idle[0]), figures)
    before = cpu(stack)
    time.sleep(sizes.idle_seconds)
    parts_of("minute.cpu_ms", less(cpu(stack), before), 1000 * 60 / sizes.idle_seconds, figures)
    load.end()
    stack.stop()
    return figures


def latencies(answer, key, name, figures, fields=FIELDS):
    for field in fields:
        figures[f"{name}.{field}"] = answer[key][field]


def deliveries(answer, name, figures, fields=FIELDS):
    """Latencies, how late the load itself sent at a given rate, which is in them, and how many came with a delay stamp (XEP-0203), by way of the server's
    store: nothing is lost when links stall, and this shows it."""
    latencies(answer, "delivery", name, figures, fields)
    if "late" in answer:
        latencies(answer, "late", f"{name}.late", figures)
    figures[f"{name}.delayed"] = answer["delayed"]


def closed_loop(context, answer, name, figures, ours):
    """Deliveries of a chat in which everybody reads: next to nothing of it has a reason to be stored. A slow machine may give one, so small numbers prove nothing."""
    deliveries(answer, name, figures)
    if ours and not context.sizes.smoke and answer["delayed"] * DELAYED_OF > answer["messages"]:
        raise Failed(f"{name}: {answer['delayed']} of {answer['messages']} messages went through the store, more than 1 in {DELAYED_OF}: the links stall"
                     f" (p99 {answer['delivery']['p99_ms']:.4g} ms)")


def busy(load, stack, sizes):
    """The closed loop again and again, some seconds in all, since it is over in one on a fast stack: the answer of the round with the median CPU, and the most that were stored first in any."""
    rounds = []
    while not rounds or sum(one["seconds"] for one in rounds) < sizes.busy_seconds:
        rounds.append(load.measured(stack, "chat", sizes.pairs, BODY, WINDOW, sizes.each))
    median = sorted(rounds, key=lambda one: total(one["cpu"]))[len(rounds) // 2]
    return dict(median, delayed=max(one["delayed"] for one in rounds))


def chat(context, kind):
    """Closed loop, open loop, and one message at a time."""
    sizes, figures = context.sizes, lateness(context)
    stack = context.stack(kind)
    load = context.load(stack, 2 * sizes.pairs)
    load.do("connect", 2 * sizes.pairs, 10, 0)
    load.do("chat", sizes.pairs, BODY, WINDOW, sizes.each // 10)
    answer = busy(load, stack, sizes)
    parts_of("busy.cpu_us", answer["cpu"], 1e6 / answer["messages"], figures)
    figures["busy.per_s"] = answer["messages"] / answer["seconds"]
    closed_loop(context, answer, "busy", figures, kind is Ours)
    for rate in sizes.rates:
        answer = load.measured(stack, "open", sizes.pairs, BODY, rate, sizes.seconds)
        parts_of(f"open{rate}.cpu_us", answer["cpu"], 1e6 / answer["messages"], figures)
        deliveries(answer, f"open{rate}", figures)
    load.do("one", sizes.singles // 10, BODY)
    deliveries(load.do("one", sizes.singles, BODY), "one", figures)
    load.end()
    stack.stop()
    return figures


def large(context, kind):
    """Small messages while four other pairs send large ones, from a process of their own: what the load does for them shall not delay the small ones."""
    sizes, figures = context.sizes, lateness(context)
    stack = context.stack(kind)
    small, big = context.load(stack, 2 * sizes.pairs), context.load(stack, 2 * LARGE_PAIRS)
    small.do("connect", 2 * sizes.pairs, 10, 0)
    big.do("first", 2 * sizes.pairs)
    big.do("connect", 2 * LARGE_PAIRS, 10, 0)
    for body, rate in sizes.large:
        before = cpu(stack)
        small.begin("open", sizes.pairs, BODY, sizes.rates[0], sizes.seconds)
        big.begin("open", LARGE_PAIRS, min(body, LARGE // 2), rate, sizes.seconds)
        answer, beside = small.answer(), big.answer()
        used = less(cpu(stack), before)
        name = f"beside{body >> 10}k"
        deliveries(answer, name, figures)
        deliveries(beside, f"{name}.large", figures)
        parts_of(f"{name}.cpu_s", used, 1, figures)
    small.end()
    big.end()
    stack.stop()
    return figures
