"""Draw the training curve (exact match of training answers over tokens, one line per length) as a small SVG."""
import csv
import sys

COLOURS = {128: "#999999", 256: "#56b4e9", 512: "#009e73", 1024: "#e69f00", 2048: "#d55e00", 4096: "#0072b2"}
WIDTH, HEIGHT, LEFT, TOP = 640, 300, 50, 20


def draw(source, target):
    """Read the CSV log `source` and write the SVG `target`."""
    lines = {}
    with open(source) as f:
        for row in csv.DictReader(f):
            lines.setdefault(int(row["length"]), []).append((int(row["tokens"]), float(row["exact_match"])))
    most = max(tokens for points in lines.values() for tokens, _ in points)

    def place(tokens, exact):
        return f"{LEFT + tokens / most * (WIDTH - LEFT - 110):.1f},{TOP + (1 - exact) * (HEIGHT - TOP - 50):.1f}"

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
           f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for level in (0, 0.25, 0.5, 0.75, 1):
        x1, y = place(0, level).split(",")
        x2, _ = place(most, level).split(",")
        out.append(f'<path d="M{x1} {y}H{x2}" stroke="#ddd"/><text x="8" y="{float(y) + 4}">{level:.0%}</text>')
    for million in range(0, int(most / 1e6) + 1, max(1, round(most / 6e6))):
        x, y = place(million * 1e6, 0).split(",")
        out.append(f'<text x="{x}" y="{float(y) + 18}" text-anchor="middle">{million} M</text>')
    out.append(f'<text x="{LEFT}" y="{HEIGHT - 8}">training tokens; share of training '
               'answers right in every digit, by length</text>')
    for i, (length, points) in enumerate(sorted(lines.items())):
        path = " ".join(place(*point) for point in points)
        colour = COLOURS.get(length, "black")
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        out.append(f'<text x="{WIDTH - 100}" y="{TOP + 14 + 18 * i}" fill="{colour}">{length} tokens</text>')
    out.append("</svg>\n")
    with open(target, "w") as f:
        f.write("\n".join(out))


if __name__ == "__main__":
    draw(sys.argv[1], sys.argv[2])
