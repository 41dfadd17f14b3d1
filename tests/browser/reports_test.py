#!/usr/bin/env python3
"""Opens the HTML reports in Chromium, headless, and checks that their figures are drawn and their numbers are
those of the JSON files. Exit 77, which CTest shows as skipped, where there is no Chromium.

usage: reports_test.py THINKEY MODEL TEXT WORK_DIRECTORY
"""
import json
import math
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

SKIPPED = 77
THIN = "snapkv:64,window=16+think:0.5,form=paper"

# Runs in a copy of the page and leaves what the browser made of it in an element of its own.
PROBE = """<script>
const box = e => { const r = e.getBoundingClientRect(); return {x: r.x, y: r.y, width: r.width, height: r.height}; };
const all = (root, query) => Array.from(root.querySelectorAll(query));
const seen = {
  figures: all(document, 'svg').map(box),
  panels: all(document, 'svg.heat-map g.panel').map(p => ({title: p.dataset.title, cells: all(p, 'rect.cell').map(c =>
    ({...box(c), row: c.dataset.row, column: c.dataset.column, value: Number(c.dataset.value),
      fill: getComputedStyle(c).fill}))})),
  points: all(document, 'circle.point').map(c => ({...box(c), x: Number(c.dataset.x), y: Number(c.dataset.y)})),
  tables: all(document, 'table').map(t => all(t, 'tr').map(r => all(r, 'th,td').map(c =>
    ({text: c.textContent, value: c.dataset.value === undefined ? null : Number(c.dataset.value)})))),
  resources: performance.getEntriesByType('resource').length,
  data: JSON.parse(document.getElementById('data').textContent),
};
const out = document.createElement('script');
out.type = 'application/json';
out.id = 'seen';
out.textContent = JSON.stringify(seen).replaceAll('<', '\\\\u003c');
document.body.append(out);
</script>"""


def browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path and subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0:
            return path
    return None


def chromium(program, work, *arguments):
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1400,2400",
               "--force-device-scale-factor=1", f"--user-data-dir={work}/profile", *arguments]
    for left in (2, 1, 0):  # on a busy machine headless Chromium sometimes never comes up
        try:
            return subprocess.run(command, capture_output=True, timeout=40, check=True).stdout.decode()
        except subprocess.TimeoutExpired:
            if left == 0:
                raise


def look(program, work, page):
    """What the browser made of the page, and its picture."""
    probe = work / (page.stem + ".probe.html")
    probe.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"), encoding="utf-8")
    dom = chromium(program, work, "--dump-dom", probe.as_uri())
    start = dom.index('id="seen">') + len('id="seen">')
    seen = json.loads(dom[start:dom.index("</script>", start)])
    picture = work / (page.stem + ".png")
    chromium(program, work, f"--screenshot={picture}", page.as_uri())
    return seen, Picture(picture.read_bytes())


class Picture:
    """The pixels of an 8-bit RGB or RGBA PNG."""

    def __init__(self, data):
        at, packed = 8, b""
        while at < len(data):
            size, kind = struct.unpack(">I4s", data[at:at + 8])
            body = data[at + 8:at + 8 + size]
            if kind == b"IHDR":
                self.width, self.height, depth, colour = struct.unpack(">IIBB", body[:10])
                assert depth == 8 and colour in (2, 6), "an unexpected kind of PNG"
                self.channels = 3 if colour == 2 else 4
            elif kind == b"IDAT":
                packed += body
            at += 12 + size
        raw, stride = zlib.decompress(packed), self.width * self.channels
        self.rows, before = [], bytearray(stride)
        for y in range(self.height):
            kind, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
            self._restore(kind, line, before)
            self.rows.append(line)
            before = line

    def _restore(self, kind, line, before):
        n = self.channels
        for i in range(len(line)) if kind else ():
            left = line[i - n] if i >= n else 0
            corner = before[i - n] if i >= n else 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = before[i]
            elif kind == 3:
                guess = (left + before[i]) // 2
            else:
                estimate = left + before[i] - corner
                guess = min((left, before[i], corner), key=lambda v: abs(estimate - v))
            line[i] = (line[i] + guess) & 255

    def at(self, x, y):
        start = int(x) * self.channels
        return tuple(self.rows[int(y)][start:start + 3])


def check(condition, what):
    if not condition:
        sys.exit(f"reports_test: {what}")


def near(a, b):
    return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)


def check_page(seen, written):
    """What every report must satisfy."""
    check(seen["data"] == written, "the data in the page are not those of the JSON file")
    check(seen["resources"] == 0, "the page fetched something")
    check(seen["figures"], "there is no figure")
    for figure in seen["figures"]:
        check(figure["width"] > 200 and figure["height"] > 80, f"a figure has no size: {figure}")


def table_numbers(table):
    """{row name: {column name: number}} of a table whose first column names the row."""
    names = [cell["text"] for cell in table[0]]
    return {row[0]["text"]: {n: c["value"] for n, c in zip(names, row) if c["value"] is not None} for row in table[1:]}


def check_table(table, written, columns):
    numbers = table_numbers(table)
    for entry in written["caches"]:
        for column, key in columns.items():
            shown = numbers[entry["cache"]][column]
            check(near(shown, entry[key]), f"{entry['cache']}: {column} is {shown} in the page, {entry[key]} in the JSON")
    check(len(numbers) == len(written["caches"]), "the table has other rows than the JSON has caches")


def check_heat_map(seen, written, picture, row, column):
    check(len(seen["panels"]) == len(written["caches"]), "not one panel per cache")
    for panel, entry in zip(seen["panels"], written["caches"]):
        check(panel["title"] == entry["cache"], "the panels are in another order")
        groups = {(g[row], g[column]): g["score"] for g in entry["groups"]}
        check(len(panel["cells"]) == len(groups), "not one cell per group")
        for cell in panel["cells"]:
            check(near(cell["value"], groups[cell["row"], cell["column"]]), f"a cell differs from the JSON: {cell}")
            check(cell["width"] > 2 and cell["height"] > 2, "a cell has no size")
            # Beside the number that is written into the cell.
            drawn = picture.at(cell["x"] + 3, cell["y"] + 3)
            wanted = tuple(int(v) for v in cell["fill"].strip("rgb() ").split(","))
            check(max(abs(a - b) for a, b in zip(drawn, wanted)) <= 2, f"a cell is drawn {drawn} instead of {wanted}")


def check_points(seen, wanted):
    shown = sorted((p["x"], p["y"]) for p in seen["points"])
    check(len(shown) == len(wanted) and all(near(a, c) and near(b, d) for (a, b), (c, d) in zip(shown, sorted(wanted))),
          f"the chart shows {shown}, the JSON says {sorted(wanted)}")


def main():
    thinkey, model, text, work = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])
    program = browser()
    if program is None:
        print("skipped: no Chromium on this machine; install the package chromium")
        return SKIPPED
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    common = ["-m", model, "-t", "1", "--cache", "full", "--cache", THIN]

    def report(name, *arguments):
        files = ["--results", work / f"{name}.jsonl", "--json", work / f"{name}.json", "--html", work / f"{name}.html"]
        command = [thinkey, *arguments, *common, *files]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, timeout=300)
        seen, picture = look(program, work, work / f"{name}.html")
        written = json.loads((work / f"{name}.json").read_text(encoding="utf-8"))
        check_page(seen, written)
        return seen, written, picture

    seen, written, picture = report(
        "needle", "eval", "needle", "--chat", "no", "--lengths", "160,200,240", "--depths", "0,50,100", "--repeats", "1",
        "-n", "4", "--needle", "K is {value}.", "--question", "K?", "--answer", "1")
    check_table(seen["tables"][0], written, {"score": "score", "bytes": "cache_bytes", "of full": "share_of_full"})
    check_heat_map(seen, written, picture, "depth", "length")

    seen, written, _ = report("kl", "eval", "kl", "-f", text, "--prompt", "120", "--continuation", "30", "--samples", "2")
    check_table(seen["tables"][0], written, {"mean KL, nats": "kl", "same top token": "top1", "perplexity": "perplexity",
                                             "of the full cache's": "perplexity_ratio", "bytes": "cache_bytes"})
    check_points(seen, [(100 * e["share_of_full"], e["kl"]) for e in written["caches"]])

    seen, written, _ = report("perplexity", "eval", "perplexity", "-f", text, "-c", "64")
    check_table(seen["tables"][0], written, {"perplexity": "perplexity", "+/-": "uncertainty"})
    print("the reports show in", program, "what their JSON files say")
    return 0


if __name__ == "__main__":
    sys.exit(main())
