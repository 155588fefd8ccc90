"""Tables and plots of what was measured: medians over the runs."""
import os
import platform
import statistics
import subprocess

COLOURS = {"ambrosia": "#2a6f4e", "prosody": "#8a6d3b", "ejabberd": "#355f8d", "jabberd2": "#8d3557", "ambrosia-prosody": "#5a5a8d"}


def versions():
    found = {"kernel": platform.release(), "cpu": next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?"),
             "cores": os.cpu_count()}
    for package in ("prosody", "ejabberd", "jabberd2", "libssl3", "libzmq5", "libevent-2.1-7", "gcc"):
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout:
            found[package] = done.stdout
    return found


def medians(results):
    """{scenario: {figure: {stack: (median, number of runs)}}}"""
    seen = {}
    for result in results:
        for name, value in result["figures"].items():
            seen.setdefault(result["scenario"], {}).setdefault(name, {}).setdefault(result["stack"], []).append(value)
    return {scenario: {name: {stack: (statistics.median(values), len(values)) for stack, values in stacks.items()} for name, stacks in figures.items()}
            for scenario, figures in seen.items()}


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(results):
    """Markdown, a table for each scenario."""
    lines = []
    for scenario, figures in medians(results).items():
        stacks = list(dict.fromkeys(stack for of in figures.values() for stack in of))
        lines += ["", f"| {scenario} | " + " | ".join(stacks) + " |", "| --- |" + " ---: |" * len(stacks)]
        for name, of in figures.items():
            if any(stack in of for stack in stacks):
                lines.append(f"| {name} | " + " | ".join(number(of[stack][0]) if stack in of else "" for stack in stacks) + " |")
    return "\n".join(lines)


def bars(title, unit, of, path):
    """A bar for each stack, the shortest wins; written as SVG."""
    width, bar, left = 640, 26, 130
    height = 50 + len(of) * (bar + 10)
    top = max(value for value, _ in of.values()) or 1
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">',
           f'<rect width="{width}" height="{height}" fill="white"/>', f'<text x="10" y="24" font-weight="bold">{title}, {unit}</text>']
    for i, (stack, (value, runs)) in enumerate(of.items()):
        y = 40 + i * (bar + 10)
        long = max(1, round((width - left - 90) * value / top))
        out += [f'<text x="10" y="{y + 18}">{stack}</text>', f'<rect x="{left}" y="{y}" width="{long}" height="{bar}" fill="{COLOURS.get(stack, "#777")}"/>',
                f'<text x="{left + long + 6}" y="{y + 18}">{number(value)}</text>']
    out.append("</svg>")
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n")


# The rows of the budgets: title, scenario, figure, what one unit of the figure is in the row's unit, the row's unit, and ours to keep.
BUDGETS = (("memory for an idle TLS client", "idle", "slope.kib", 1.024, "KB", "17.0"),
           ("of which the gateway", "idle", "slope.kib.gateway", 1.024, "KB", "15.5"),
           ("of which the IM service", "idle", "slope.kib.im", 1.024, "KB", "1.5"),
           ("CPU for a delivered message, busy", "chat", "busy.cpu_us", 1, "µs", "20"),
           ("of which the gateway", "chat", "busy.cpu_us.gateway", 1, "µs", "12"),
           ("CPU for a login, TLS 1.3 and SCRAM-SHA-1", "login", "SCRAM-SHA-1.cpu_ms", 1, "ms", "0.5"),
           ("one message at a time, p50", "chat", "one.p50_ms", 1, "ms", "0.20"),
           ("one message at a time, p99", "chat", "one.p99_ms", 1, "ms", "0.40"),
           ("small messages beside 1 MiB stanzas, p99", "large", "beside1024k.p99_ms", 1, "ms", "2"),
           ("CPU for a message over two servers", "domains", "cpu_us", 1, "µs", "60"))
OURS = "ambrosia"


def budgets(results):
    """Markdown: each budget beside what was measured: the median of the runs, (their least to their greatest), and what the best peer takes of ours."""
    seen = {}
    for result in results:
        for name, value in result["figures"].items():
            seen.setdefault((result["scenario"], name), {}).setdefault(result["stack"], []).append(value)
    peers = [stack for stack in dict.fromkeys(result["stack"] for result in results) if stack != OURS]
    lines = ["| | budget | ours | " + " | ".join(peers) + " | least of the peers / ours |", "| --- | ---: | ---: |" + " ---: |" * len(peers) + " ---: |"]
    for title, scenario, figure, scale, unit, budget in BUDGETS:
        of = {stack: [value * scale for value in values] for stack, values in seen.get((scenario, figure), {}).items()}
        if OURS not in of:
            continue
        cells = [f"{number(statistics.median(of[stack]))} ({number(min(of[stack]))}–{number(max(of[stack]))})" if stack in of else "" for stack in (OURS, *peers)]
        others = [statistics.median(values) for stack, values in of.items() if stack != OURS and OURS not in stack]
        ratio = f"{min(others) / statistics.median(of[OURS]):.1f}" if others else ""
        lines.append(f"| {title} | {budget} {unit} | " + " | ".join(cells) + f" | {ratio} |")
    return "\n".join(lines)


PLOTS = (("login", "SCRAM-SHA-1.cpu_ms", "CPU for a login", "ms"), ("idle", "slope.kib", "Memory for an idle client", "KiB"),
         ("chat", "busy.cpu_us", "CPU for a delivered message", "µs"), ("chat", "one.p50_ms", "One message at a time, median", "ms"),
         ("large", "beside1024k.p99_ms", "Small messages beside 1 MiB stanzas, p99", "ms"), ("domains", "cpu_us", "CPU for a message over two servers", "µs"))


def plots(results, folder):
    os.makedirs(folder, exist_ok=True)
    seen = medians(results)
    for scenario, figure, title, unit in PLOTS:
        if figure in seen.get(scenario, {}):
            bars(title, unit, seen[scenario][figure], f"{folder}/{scenario}-{figure.replace('.', '-')}.svg")
