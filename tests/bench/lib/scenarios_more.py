"""What takes more than one stack, or several gateways and services of ours: two domains, many services and gateways, and a storm."""
import os
import signal
import time

from measure import Failed, cpu, less, private_kib, pss
from scenarios import BODY, FIELDS, WINDOW, closed_loop, deliveries, parts_of, total
from stacks import DOMAIN, SECOND, Ours, Prosody, OurCluster

OUR_KINDS = {"ambrosia": (Ours, Ours), "ambrosia-prosody": (Ours, Prosody), "prosody": (Prosody, Prosody)}


def domains(context, name):
    """The chat of 50 pairs, each across a server connection, both ways."""
    sizes, figures = context.sizes, {}
    kinds = OUR_KINDS[name]
    stacks = [context.stack(kind, domain=domain, number=i + 1) for i, (kind, domain) in enumerate(zip(kinds, (DOMAIN, SECOND)))]
    load = context.load([f"{domain}:{stack.ports[0]}" for stack, domain in zip(stacks, (DOMAIN, SECOND))], 2 * sizes.pairs)
    load.do("connect", 2 * sizes.pairs, 10, "cross")
    load.do("chat", sizes.pairs, BODY, WINDOW, max(sizes.each // 10, 1))
    before = [cpu(stack) for stack in stacks]
    answer = load.do("chat", sizes.pairs, BODY, WINDOW, sizes.each)
    used = {f"{i + 1}-{part}": value for i, stack in enumerate(stacks) for part, value in less(cpu(stack), before[i]).items()}
    parts_of("cpu_us", used, 1e6 / answer["messages"], figures)
    figures["per_s"] = answer["messages"] / answer["seconds"]
    closed_loop(context, answer, "busy", figures, name == Ours.name)
    load.end()
    for stack in stacks:
        stack.stop()
    return figures


def many(context, _):
    """One gateway with 1, 10, 100 service instances; one service with 1 to 8 gateways: memory, and what a chat through the first of each costs."""
    sizes, figures = context.sizes, {}
    for gateways, services in [(1, n) for n in sizes.services] + [(n, 1) for n in sizes.gateways if n > 1]:
        name = f"{gateways}g{services}s"
        stack = context.stack(OurCluster, gateways, services)
        time.sleep(0 if sizes.smoke else 5)   # until all have heard of all
        figures[f"{name}.gateway_kib"], figures[f"{name}.service_kib"] = private_kib(stack, "gateway0"), private_kib(stack, "im")
        figures[f"{name}.all_kib"] = total(pss(stack))
        load = context.load(stack, 2 * sizes.pairs)
        load.do("connect", 2 * sizes.pairs, 10, 0)
        load.do("chat", sizes.pairs, BODY, WINDOW, max(sizes.each // 10, 1))
        answer = load.measured(stack, "chat", sizes.pairs, BODY, WINDOW, sizes.each)
        parts_of(f"{name}.cpu_us", {part: answer["cpu"][part] for part in ("gateway0", "im")}, 1e6 / answer["messages"], figures)
        closed_loop(context, answer, f"{name}.busy", figures, True)
        before = cpu(stack)
        deliveries(load.do("open", sizes.pairs, BODY, 100, max(sizes.seconds, 2)), name, figures)
        figures[f"{name}.all_cpu_percent"] = total(less(cpu(stack), before)) * 100 / max(sizes.seconds, 2)
        load.end()
        stack.stop()
    return figures


class Chats:
    """The pairs that chat while a storm comes to gateway 1: the *others*, who are at it, and a *control* of a quarter as many at a quarter of the rate, at
    gateway 2, to which nobody comes. Each has a load and accounts of its own."""

    def __init__(self, context, stack):
        sizes, self.loads = context.sizes, {}
        for name, port, first, share in (("others", stack.ports[1], 0, 1), ("control", stack.ports[2], 2 * sizes.pairs, 4)):
            pairs = sizes.pairs // share
            load = context.load([f"{DOMAIN}:{port}"], 2 * pairs)
            load.do("turns", "short")   # it measures
            load.do("first", first)
            load.do("connect", 2 * pairs, 10, 0)
            self.loads[name] = load, ("open", pairs, BODY, sizes.rates[0] // share)

    def begin(self, seconds):
        for load, command in self.loads.values():
            load.begin(*command, seconds)

    def enough(self):
        for load, _ in self.loads.values():
            load.begin("enough")

    def answers(self, figures, names):
        """All of them in `figures`, each under its name in `names`."""
        for name, (load, _) in self.loads.items():
            deliveries(load.answer(), names[name], figures, ("p50_ms", "p90_ms", *FIELDS[1:]))

    def end(self):
        for load, _ in self.loads.values():
            load.end()


def storm(context, _):
    """Three gateways; one is killed, and its clients, half of them with sessions to resume, of XEP-0198 and of TLS, come to the second at once, where 50 pairs
    chat at 1,000 messages a second. At the third chat those whose latencies tell what the generator, the kernel and the IM service do to anybody here."""
    sizes, figures = context.sizes, {}
    stack = context.stack(OurCluster, 3, 1)
    time.sleep(0 if sizes.smoke else 5)   # until all have heard of all
    load = context.load([f"{DOMAIN}:{port}" for port in stack.ports[:2]], sizes.storm)
    half = sizes.storm // 2
    load.do("connect", half, sizes.at_once, 0)
    load.do("sm", "on")
    load.do("connect", sizes.storm - half, sizes.at_once, 0)
    load.do("sm", "off")
    load.do("turns", "idle")   # it stands for thousands of machines elsewhere, whose work is none of the gateway's machine
    chats = Chats(context, stack)
    before = cpu(stack)
    chats.begin(sizes.quiet_seconds)
    chats.answers(figures, {"others": "quiet", "control": "control_quiet"})
    quiet = less(cpu(stack), before)
    load.begin("storm", 300)
    chats.begin(600)
    before = cpu(stack)
    os.kill(stack.processes["gateway0"].pid, signal.SIGKILL)
    answer = load.answer()
    chats.enough()
    chats.answers(figures, {"others": "others", "control": "control"})
    used = less({part: value for part, value in cpu(stack).items() if part != "gateway0"}, before)
    stack.processes.pop("gateway0").wait()
    for name, calm in (("others", "quiet"), ("control", "control_quiet")):
        figures[f"{name}_to_quiet"] = figures[f"{name}.p99_ms"] / figures[f"{calm}.p99_ms"]
    figures["all_back_s"], figures["refused_once"] = answer["all_back_s"], answer["failures"]
    figures["by_ticket"] = answer["by_ticket"]
    if answer["by_ticket"] == 0:
        raise Failed("nobody's TLS session was resumed")
    figures["logins_per_s"] = answer["back"] / answer["all_back_s"]
    for key in ("all_after", "back_after", "resumed_after"):
        figures[f"{key}.p50_s"], figures[f"{key}.p90_s"], figures[f"{key}.max_s"] = (answer[key][field] / 1000 for field in ("p50_ms", "p90_ms", "max_ms"))
        figures[f"{key}.nr"] = answer[key]["nr"]
    parts_of("cpu_ms_each", used, 1000 / answer["back"], figures)
    parts_of("quiet_cpu_ms_each_s", quiet, 1000 / sizes.quiet_seconds, figures)   # the pairs go on in the storm, and are in its figure
    load.end()
    chats.end()
    stack.stop()
    return figures
