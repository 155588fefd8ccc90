"""What was measured as Markdown: the budgets first, then every figure. The median of the runs counts; beside it stand their least and their greatest."""
import statistics

OURS = "ambrosia"
TO_FLOOR = "SCRAM-SHA-1.to_floor"
FLOORS = ("floor", "floor-link")   # of messages: no peers
TAKEN = 0.05   # of the processors' time, by the host during a run: beyond it the run is kept, told, and does not count
OF_FLOOR = ("busy.cpu_us", "one.p50_ms", "one.p99_ms", "beside1024k.p99_ms")   # what is set against that of the second, which has as many processes as ours
ALIKE = {"busy.cpu_us.gateway": "busy.cpu_us.c2s"}   # of a peer, what is compared with our part
# What stands below a scenario's table.
NOTES = {"login": "*cold* is the first login of each account by that mechanism, the others are of clients whose keys are at hand: of the client, and in a server that caches them, as ours "
                  "does for a minute. Ours and jabberd2 keep plain passwords, with which PLAIN only compares, while Prosody and ejabberd keep derived keys, and derive one from each "
                  "password that comes (PBKDF2); Prosody's accounts are given as plain passwords, which its first login of each replaces. *not counted*: some logins were lost, and what "
                  "they took is in the sum. jabberd2's clients go when all have come, since a logout there breaks the next login on the same descriptor.",
         "chat": "*late*: how long after its time the load itself turned to a message, at a given rate; the latencies beside it have it in them. *floor.sleep*: how much longer than a "
                 "millisecond one lasted that was slept here just before.",
         "large": "The large stanzas come from a load of their own. *late*: as in chat.",
         "many": "*gateway_kib* and *service_kib*: pages of the first gateway's and the IM service's own; *all_kib*: of all processes together, shared pages once.",
         "storm": "*quiet* and *others*: the pairs at the gateway that the storm comes to, before and in it; *control_quiet* and *control*: those at a gateway to which nobody comes. "
                  "*others_to_quiet*, *control_to_quiet*: p99 in the storm by that before, run by run; *late*: as in chat. *cpu_ms_each*: for each that came back, the chats included, whose "
                  "own is *quiet_cpu_ms_each_s*."}
# The rows of the budgets: title, scenario, figure, what one unit of the figure is in the row's unit, the row's unit, what ours is to keep, if anything, and
# how many times that the best of the peers took on the machine of the budgets: on another machine that counts, not the figure.
BUDGETS = (("memory for an idle TLS client", "idle", "slope.kib", 1.024, "KB", 17.0, 49 / 17.0),
           ("of which the gateway", "idle", "slope.kib.gateway", 1.024, "KB", 15.5, None),
           ("of which the IM service", "idle", "slope.kib.im", 1.024, "KB", 1.5, None),
           ("CPU for a delivered message, busy", "chat", "busy.cpu_us", 1, "µs", 20, 46 / 20),
           ("of which the gateway, or c2s", "chat", "busy.cpu_us.gateway", 1, "µs", 12, 29 / 12),
           ("all of it, by floor-link's", "chat", "busy.cpu_us.to_floor", 1, "", None, None),
           ("a message while busy, p99", "chat", "busy.p99_ms", 1, "ms", None, None),
           ("messages that were stored first, busy", "chat", "busy.delayed", 1, "", None, None),
           ("CPU for a login, TLS 1.3 and SCRAM-SHA-1", "login", "SCRAM-SHA-1.cpu_ms", 1, "ms", 0.5, 2.1 / 0.5),
           ("the same, by the floor of its parts", "login", TO_FLOOR, 1, "", 0.5 / 0.34, None),
           ("one message at a time, p50", "chat", "one.p50_ms", 1, "ms", 0.20, 0.08 / 0.20),
           ("the same, by floor-link's", "chat", "one.p50_ms.to_floor", 1, "", None, None),
           ("one message at a time, p99", "chat", "one.p99_ms", 1, "ms", 0.40, 0.25 / 0.40),
           ("the same, by floor-link's", "chat", "one.p99_ms.to_floor", 1, "", None, None),
           ("small messages beside 1 MiB stanzas, p99", "large", "beside1024k.p99_ms", 1, "ms", 2, 6.7 / 2),
           ("the same, by floor-link's", "large", "beside1024k.p99_ms.to_floor", 1, "", None, None),
           ("CPU for a message over two servers", "domains", "cpu_us", 1, "µs", 60, 153 / 60),
           ("others' p99 in a storm, by the quiet one (2 promised)", "storm", "others_to_quiet", 1, "", 2, None),
           ("the same at a gateway to which no storm comes", "storm", "control_to_quiet", 1, "", None, None))


def disturbed(result):
    """Whether the host took so much of its time that its own is not told by it; of bytes it takes nothing."""
    return "figures" in result and result["scenario"] != "idle" and result.get("during", {}).get("steal", 0) > TAKEN


def measured(results):
    """Those that have figures which count."""
    return [result for result in results if "figures" in result and not disturbed(result)]


def uncounted(figures, name):
    """CPU for a login where some were lost: what the lost ones took is in it."""
    return figures.get(f"{name.partition('.cpu_ms')[0]}.lost", 0) > 0 if ".cpu_ms" in name else False


def cell(results, of, scenario, figure, stack):
    """The stack's values in words. Empty: there is no such figure of it."""
    if stack in of:
        return spread(of[stack])
    lost = any(uncounted(result["figures"], figure) and figure in result["figures"] for result in measured(results) if (result["scenario"], result["stack"]) == (scenario, stack))
    return "not counted" if lost else ""


def to_floor(results):
    """Of each run of ours and the floor's in the same run: (scenario, figure, ours by the floor's)."""
    ours = {}
    for result in measured(results):
        if result["stack"] == OURS:
            ours[result["scenario"]] = result["figures"]
        elif result["stack"] == FLOORS[-1]:
            mine, least = ours.pop(result["scenario"], {}), result["figures"]
            for name in OF_FLOOR:
                if name in mine and least.get(name):
                    yield result["scenario"], f"{name}.to_floor", mine[name] / least[name]


def collected(results):
    """{(scenario, figure): {stack: [each run's value]}}"""
    seen = {}
    for result in measured(results):
        figures = {name: value for name, value in result["figures"].items() if not uncounted(result["figures"], name)}
        if "floor.login.cpu_ms" in figures:
            figures[TO_FLOOR] = figures["SCRAM-SHA-1.cpu_ms"] / figures["floor.login.cpu_ms"]
        for name, value in figures.items():
            seen.setdefault((result["scenario"], name), {}).setdefault(result["stack"], []).append(value)
    for scenario, name, value in to_floor(results):
        seen.setdefault((scenario, name), {}).setdefault(OURS, []).append(value)
    return seen


def stacks_of(results):
    """Ours first, then the floors, whatever ran first."""
    return sorted(dict.fromkeys(result["stack"] for result in measured(results)), key=lambda stack: (stack != OURS, stack not in FLOORS, OURS in stack, stack))


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values):
    """The median, and from where to where the runs went."""
    text = number(statistics.median(values))
    least, greatest = number(min(values)), number(max(values))
    return text if least == greatest else f"{text} ({least}–{greatest})"


def versions(results):
    """{name: every value}; our own only of what has our servers in it."""
    seen = {}
    for result in results:
        for name, value in result["versions"].items():
            if name != OURS or OURS in result["stack"]:
                seen.setdefault(name, {})[str(value)] = True
    return {name: " and ".join(values) for name, values in seen.items()}


def percent(values):
    return " to ".join(dict.fromkeys(f"{100 * value:.0f}" for value in (min(values), max(values)))) + " %"


def quietness(results):
    """How much else ran."""
    text = "load before a run {:.1f} to {:.1f}".format(*(of(result["load_before"] for result in results) for of in (min, max)))
    if watched := [result for result in results if "during" in result]:
        text += "; ".join(["", *(f"{words} {percent([result['during'][name] for result in watched])}" for name, words in (
            ("others", "in runs others had"), ("steal", "the host took"), ("pressure", "somebody waited for a processor")) if all(name in result["during"] for result in watched))])
        text += f"; not quiet before {sum(not result['before']['quiet'] for result in watched)} of {len(watched)}"
    return text


def suites(results):
    """What the load negotiated with each stack."""
    seen = {}
    for result in results:
        for suite in result.get("tls", ()):
            seen.setdefault(suite, {})[result["stack"]] = True
    return "; ".join(f"{suite} with {', '.join(stacks)}" for suite, stacks in seen.items())


def conditions(results):
    """When, on what, and how much else ran; and what is missing."""
    if not (good := measured(results)):
        return ""
    days, found = sorted({result["at"][:10] for result in good}), versions(good)
    of = ", ".join(f"{name} {value}" for name, value in found.items() if name not in ("cpu", "cores", "kernel"))
    without = ""
    for why, found_so in (("Failed and left out", lambda result: "failed" in result), (f"Left out, since the host took more than {percent([TAKEN])} of their time", disturbed)):
        if names := [f"{result['stack']} {result['scenario']}" for result in results if found_so(result)]:
            without += f" {why}: {', '.join(f'{name} ({names.count(name)})' for name in dict.fromkeys(names))}."
    return (f"{' to '.join(dict.fromkeys((days[0], days[-1])))}; Linux {found['kernel']}, {found['cores']} cores of {found['cpu']}; {of}; {f'{tls}; ' if (tls := suites(good)) else ''}{quietness(good)}. "
            f"Medians, in brackets the least and the greatest of several runs.{without}")


def budgets(results):
    """Each budget beside what was measured, marked where ours is over, and how much less ours takes than the best of the peers, in bold where that is less
    than the budget wants."""
    seen, peers = collected(results), [stack for stack in stacks_of(results) if stack != OURS]
    lines = ["| | budget | ours | " + "".join(f"{stack} | " for stack in peers) + "least of the peers / ours (wanted) |", "| --- | ---: | ---: |" + " ---: |" * len(peers) + " ---: |"]
    for title, scenario, figure, scale, unit, budget, wanted in BUDGETS:
        found = {**seen.get((scenario, ALIKE.get(figure)), {}), **seen.get((scenario, figure), {})}
        of = {stack: [value * scale for value in values] for stack, values in found.items()}
        if OURS not in of:
            continue
        ours, others = statistics.median(of[OURS]), [statistics.median(values) for stack, values in of.items() if OURS not in stack and stack not in FLOORS]
        mine = f"{spread(of[OURS])}, over" if budget is not None and ours > budget else spread(of[OURS])
        ratio = f"{min(others) / ours:.1f}" if others and ours else ""
        if ratio and wanted:
            ratio = f"{ratio} ({wanted:.1f})" if min(others) / ours >= wanted else f"**{ratio} ({wanted:.1f})**"
        cells = ["" if budget is None else f"{budget:.3g} {unit}".strip(), mine, *(cell(results, of, scenario, figure, stack) for stack in peers), ratio]
        lines.append(f"| {title}{', ' + unit if budget is None and unit else ''} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ordered(names):
    """As they came, but each part behind its sum, also the parts of who came later."""
    names = list(names)
    return sorted(names, key=lambda name: (names.index(name.rpartition(".")[0] if name.rpartition(".")[0] in names else name), names.index(name)))


def table(results):
    """A table for each scenario: every figure, each stack in a column of its own, headed with the number of its runs."""
    results = measured(results)
    lines, seen = [], collected(results)
    for scenario in dict.fromkeys(result["scenario"] for result in results):
        runs = [result["stack"] for result in results if result["scenario"] == scenario]
        stacks = [stack for stack in stacks_of(results) if stack in runs]
        heads = [f"{stack}, {runs.count(stack)} run{'s' if runs.count(stack) > 1 else ''}" for stack in stacks]
        lines += ["", f"| {scenario} | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(stacks)]
        for name in ordered(name for of_scenario, name in seen if of_scenario == scenario):
            of = seen[scenario, name]
            lines.append(f"| {name} | " + " | ".join(cell(results, of, scenario, name, stack) for stack in stacks) + " |")
        if note := NOTES.get(scenario):
            lines += ["", note]
    return "\n".join(lines)
