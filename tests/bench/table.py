# SPDX-License-Identifier: MIT
"""The table of a run: as text, as Markdown, as JSON."""
import json
import statistics

HEAD = """\
vmferry: the median. The others: vmferry's value divided by theirs, the median over the pairs of
samples; below 1 vmferry is faster. In brackets: CPU seconds per GiB of guest memory, of all
processes that take part."""


def ratio_of(ours, theirs):
    """Of pairs, because samples of one turn were taken on the machine in the same state. QEMU
    reports downtime in whole milliseconds: 0 is taken as 1, the ratio is then a lower bound."""
    return statistics.median(a / (b or 1) for a, b in zip(ours, theirs))


class Table:
    def __init__(self, columns, settings, machine, markdown):
        self.columns, self.markdown = columns, markdown     # columns[0] is ours
        self.doc = {"settings": settings, "machine": dict(machine), "rows": []}
        self.notes = []
        self.left_out = {}      # side and reason: rows
        self.widths = [40] + [max(16, len(c) + 2) for c in columns]
        if markdown:
            print("| machine | |\n| --- | --- |")
            print("\n".join(f"| {what} | {text} |" for what, text in machine))
        else:
            print("\n".join(f"{what + ':':16}{text}" for what, text in machine))
        print(f"\n{HEAD}", flush=True)

    def line(self, cells):
        if self.markdown:
            print("| " + " | ".join(cells) + " |", flush=True)
        else:
            print("".join(c.ljust(w) for c, w in zip(cells, self.widths)).rstrip(), flush=True)

    def block(self, title):
        print(f"\n{'### ' if self.markdown else ''}{title}")
        if self.markdown:
            print()
        self.line(["what", *self.columns])
        if self.markdown:
            self.line(["---"] * (1 + len(self.columns)))

    def row(self, block, name, title, samples, unit="s", gib=None):
        """samples: of a column, pairs of value and CPU seconds or None."""
        ours = [v for v, _ in samples[self.columns[0]]]
        cells, entry = [title], {**block, "row": name, "unit": unit, "sides": {}}
        for column in self.columns:
            if column not in samples:
                cells.append("-")
                continue
            values = [v for v, _ in samples[column]]
            median = statistics.median(values)
            cpu = [c / gib for _, c in samples[column] if c is not None and gib]
            if column != self.columns[0]:
                text = ("" if all(values) else ">") + f"{ratio_of(ours, values):.2f}"
            elif median < 1000:
                text = f"{median:.3g} {unit}"
            else:
                text = f"{median:.0f} {unit}"
            entry["sides"][column] = {
                "median": median, "values": values, "ratio": ratio_of(ours, values),
                "cpu_seconds_per_gib": statistics.median(cpu) if cpu else None}
            cells.append(text + (f" ({statistics.median(cpu):.2f})" if cpu else ""))
        self.line(cells)
        self.doc["rows"].append(entry)

    def leave_out(self, side, why, row):
        self.left_out.setdefault(f"{side}: {why}", {})[row.strip()] = True

    def end(self):
        """What was left out, and why."""
        self.notes += [f"{why}; left out: {'; '.join(rows)}"
                       for why, rows in self.left_out.items()]
        if self.notes:
            print()
        for text in self.notes:
            print(f"{'- ' if self.markdown else ''}{text}")

    def save(self, path):
        self.doc["notes"] = self.notes
        with open(path, "w") as f:
            json.dump(self.doc, f, indent=1)
            f.write("\n")
