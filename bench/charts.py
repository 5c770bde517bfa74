"""SVG charts of the scripts in bench/: self-contained files, without a library."""

import html
import math

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999"]  # Okabe and Ito's


def frame(width, height, title):
    """The first elements of a chart; "</svg>" ends it."""
    text = html.escape(title)
    return [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="Helvetica, Arial, sans-serif" font-size="12"><title>{text}</title>',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            f'<text x="20" y="28" font-size="16" font-weight="bold">{text}</text>']


def nice_step(largest, most=8):
    """The least of 1, 2 or 5 times a power of ten of which at most so many reach `largest`."""
    power = 10.0 ** math.floor(math.log10(largest / most))
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if largest / step <= most)


def ratio_bars(title, note, groups):
    """Horizontal bars of ratios, a line at 1. `groups`: [(label, [(series, median, least, largest), ..]), ..]; whiskers from
    least to largest. Ratios are above 0."""
    bars = [bar for _, group in groups for bar in group]
    if not bars:
        raise ValueError("a chart without bars")
    names = list(dict.fromkeys(bar[0] for bar in bars))
    left, right, top, bar_height = 300, 90, 70, 18
    width = 960
    height = top + 60 + sum(26 + bar_height * len(group) for _, group in groups)
    largest = max(1.2, max(bar[3] for bar in bars))

    def x(value):
        return left + (width - left - right) * value / largest

    parts = frame(width, height, title)
    parts.append(f'<text x="20" y="48" fill="#555555">{html.escape(note)}</text>')
    step = nice_step(largest)
    for tick in range(int(largest / step) + 1):
        at = x(tick * step)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{height - 40}" stroke="#dddddd"/>'
                     f'<text x="{at:.1f}" y="{height - 22}" text-anchor="middle">{tick * step:g}</text>')
    y = top
    for label, group in groups:
        parts.append(f'<text x="20" y="{y + 17}" font-weight="bold">{html.escape(label)}</text>')
        y += 22
        for name, median, least, most in group:
            colour, middle = COLOURS[names.index(name) % len(COLOURS)], y + bar_height / 2 - 1
            parts.append(
                f'<text x="{left - 8}" y="{middle + 4:.1f}" text-anchor="end">{html.escape(name)}</text>'
                f'<rect x="{left}" y="{y}" width="{x(median) - left:.1f}" height="{bar_height - 4}" fill="{colour}"/>'
                f'<line x1="{x(least):.1f}" x2="{x(most):.1f}" y1="{middle:.1f}" y2="{middle:.1f}" stroke="#333333"/>'
                f'<text x="{x(most) + 6:.1f}" y="{middle + 4:.1f}">{median:.2f}</text>')
            y += bar_height
        y += 4
    parts.append(f'<line x1="{x(1):.1f}" x2="{x(1):.1f}" y1="{top}" y2="{height - 40}" stroke="#000000" '
                 'stroke-dasharray="4 3"/>')
    return "\n".join(parts) + "\n</svg>\n"
