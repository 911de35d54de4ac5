"""The figures as one SVG: a bar for each ratio with its target, and how speed scales."""

from xml.sax.saxutils import escape

WIDTH, LEFT, BAR, STEP, TOP = 900, 430, 330, 24, 64
INK, FAINT, GOOD, BAD, PLAIN = "#222", "#999", "#3a7d44", "#b5452c", "#4a6fa5"
PLOT_HEIGHT = 180


def text(x, y, words, anchor="start", colour=INK, size=12, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
            f'font-size="{size}" font-weight="{weight}">{escape(words)}</text>')


def rule(x1, y1, x2, y2, colour=FAINT, width=1, dash=""):
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"{dashed}/>')


def bars(figures, top):
    """Ratios of speed: the bound is the full length."""
    widest = max([1.0] + [min(figure["value"], 1.5) for figure in figures])
    scale, shapes = BAR / widest, []
    bottom = top + STEP * len(figures)
    shapes.append(rule(LEFT + scale, top - 6, LEFT + scale, bottom, INK))
    shapes.append(text(LEFT + scale, top - 12, "its bound", "middle", INK, 11))
    for place, figure in enumerate(figures):
        y = top + STEP * place
        colour = {None: PLAIN, True: GOOD, False: BAD}[figure["met"]]
        length = min(figure["value"], 1.5) * scale
        shapes.append(text(LEFT - 8, y + 14, figure["what"].split(" against ")[0], "end"))
        shapes.append(f'<rect x="{LEFT}" y="{y + 3}" width="{length:.1f}" height="{STEP - 8}" '
                      f'fill="{colour}"/>')
        if figure["target"] is not None:
            x = LEFT + figure["target"] * scale
            shapes.append(rule(x, y, x, y + STEP - 2, INK, 2, "3 2"))
        words = f"{figure['value']:.2f}"
        if figure["unit"] == "rows/s":
            words += f"   {figure['candidate']:,.0f} rows/s"
        shapes.append(text(LEFT + BAR + 10, y + 14, words))
    return shapes, bottom


def curve(points, title, unit, left, top, width):
    """Rows a second over nodes or rows."""
    highest = max(rate for _, rate in points) * 1.1
    bottom = top + PLOT_HEIGHT
    shapes = [text(left, top - 12, title, weight="bold"), rule(left, bottom, left + width, bottom),
              rule(left, top, left, bottom)]
    for share in (0.5, 1.0):
        y = bottom - PLOT_HEIGHT * share
        shapes.append(rule(left, y, left + width, y, "#e2e2e2"))
        shapes.append(text(left + 4, y + 13, f"{highest * share:,.0f} rows/s", colour=FAINT,
                           size=10))
    places = [(left + width * (place + 0.5) / len(points), bottom - PLOT_HEIGHT * rate / highest)
              for place, (_, rate) in enumerate(points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    shapes.append(f'<polyline points="{path}" fill="none" stroke="{PLAIN}" stroke-width="2"/>')
    for (x, y), (count, rate) in zip(places, points):
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{PLAIN}"/>')
        shapes.append(text(x, y - 9, f"{rate:,.0f}", "middle", size=11))
        shapes.append(text(x, bottom + 16, f"{count:,} {unit}", "middle", size=11))
    return shapes


def draw(document):
    """The SVG as text."""
    ratios = [figure for figure in document["figures"] if figure["relation"] == ">="]
    machine = document["machine"]
    shapes = [text(20, 24, "xmtp-migrate: speed against the bound of each stage", size=16,
                   weight="bold"),
              text(20, 42, f"{machine['processor']}, {machine['cores']} cores, "
                   f"{document['rows']:,} rows, {document['date']}. Dashes: targets.",
                   colour=FAINT)]
    drawn, height = bars(ratios, TOP + 20)
    shapes += drawn
    titles = {"rows": ("Speed of a run over rows", "rows"),
              "nodes": ("Speed of a run over nodes", "nodes")}
    curves = [(document["curves"][name], *titles[name]) for name in titles
              if document["curves"].get(name)]
    for place, (points, title, unit) in enumerate(curves):
        shapes += curve(points, title, unit, 40 + place * 430, height + 60, 390)
    height += 60 + PLOT_HEIGHT + 30 if curves else 20
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">\n'
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n'
            + "\n".join(shapes) + "\n</svg>\n")
