"""Bar charts of what was measured, as SVG that says the same for the same figures."""
import math
import os
import statistics

from report import BUDGETS, collected, number

COLOURS = {"ambrosia": "#2a6f4e", "floor": "#9aa59f", "floor-link": "#7d8a83", "ambrosia-prosody": "#5a5a8d", "ejabberd": "#355f8d", "jabberd2": "#8d3557", "prosody": "#8a6d3b"}   # and their order
WIDTH, LEFT, RIGHT, TOP, BAR, GAP = 680, 140, 110, 44, 26, 10
PLOTS = (("login", "SCRAM-SHA-1.cpu_ms", "CPU for a login", "ms"), ("idle", "slope.kib", "Memory for an idle client", "KB"),
         ("chat", "busy.cpu_us", "CPU for a delivered message", "µs"), ("chat", "one.p50_ms", "One message at a time, median", "ms"),
         ("large", "beside1024k.p99_ms", "Small messages beside 1 MiB stanzas, p99", "ms"), ("domains", "cpu_us", "CPU for a message over two servers", "µs"))


def steps(top):
    """Round numbers from 0 that reach to `top`, five or so."""
    ten = 10 ** math.floor(math.log10(top / 5))
    step = next(ten * one for one in (1, 2, 5, 10) if ten * one * 6 >= top)
    return [step * i for i in range(math.ceil(top / step) + 1)]


def text(x, y, words, more=""):
    return f'<text x="{x:g}" y="{y:g}"{more}>{words}</text>'


def line(x1, y1, x2, y2, more):
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" {more}/>'


def bars(title, unit, of, budget):
    """A bar for each stack, {stack: values}: the median, and over it a line from the least to the greatest run; the shortest wins."""
    ticks = steps(max([max(values) for values in of.values()] + [budget or 0]) or 1)
    bottom = TOP + len(of) * (BAR + GAP)
    height = bottom + 84

    def x(value):
        return round(LEFT + (WIDTH - LEFT - RIGHT) * value / ticks[-1], 1)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
           f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>', text(10, 24, title, ' font-weight="bold"')]
    for tick in ticks:
        out += [line(x(tick), TOP - 6, x(tick), bottom, 'stroke="#ddd"'), text(x(tick), bottom + 16, f"{tick:g}", ' text-anchor="middle"')]
    for i, stack in enumerate(sorted(of, key=lambda stack: ([*COLOURS, stack].index(stack), stack))):
        values, y = of[stack], TOP + i * (BAR + GAP)
        median, least, greatest = statistics.median(values), min(values), max(values)
        out += [text(LEFT - 8, y + 18, stack, ' text-anchor="end"'),
                f'<rect x="{LEFT}" y="{y}" width="{max(1, x(median) - LEFT):g}" height="{BAR}" fill="{COLOURS.get(stack, "#777")}"/>',
                text(x(greatest) + 8, y + 18, f"{number(median)} {unit}")]
        if least < greatest:
            out.append(line(x(least), y + BAR / 2, x(greatest), y + BAR / 2, 'stroke="#111" stroke-width="2"'))
    if budget is not None:
        out.append(line(x(budget), TOP - 6, x(budget), bottom, 'stroke="#c00" stroke-width="2" stroke-dasharray="5 3"'))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, bottom + 36, f"{unit} (less is better)", ' text-anchor="middle"'))
    y = bottom + 66
    out += [f'<rect x="{LEFT}" y="{y - 10}" width="18" height="12" fill="#777"/>', text(LEFT + 24, y, "median of the runs"),
            line(LEFT + 160, y - 4, LEFT + 184, y - 4, 'stroke="#111" stroke-width="2"'), text(LEFT + 190, y, "least to greatest")]
    if budget is not None:
        out += [line(LEFT + 320, y - 4, LEFT + 344, y - 4, 'stroke="#c00" stroke-width="2" stroke-dasharray="5 3"'), text(LEFT + 350, y, "our budget")]
    return "\n".join([*out, "</svg>"]) + "\n"


def draw(results, folder):
    os.makedirs(folder, exist_ok=True)
    seen, kept = collected(results), {(scenario, figure): (scale, budget) for _, scenario, figure, scale, _, budget, _ in BUDGETS}
    for scenario, figure, title, unit in PLOTS:
        scale, budget = kept[scenario, figure]
        if of := seen.get((scenario, figure)):
            with open(f"{folder}/{scenario}-{figure.replace('.', '-')}.svg", "w") as f:
                f.write(bars(title, unit, {stack: [value * scale for value in values] for stack, values in of.items()}, budget))
