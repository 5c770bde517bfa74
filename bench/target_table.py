"""The table of targets: what is kept of measured rows, and how it is printed."""

import dataclasses
import json
import os
import statistics

import measure


@dataclasses.dataclass(frozen=True)
class Target:
    """A row: `must` and `goal` (None: none is set) of a figure, in `unit`: "" a fraction, "x" a ratio, "s" seconds. The least
    that is wanted; with `at_most` the most. `measure(bench)` returns (figures of the rounds, a note) or raises Unavailable."""
    key: str
    title: str
    must: float
    goal: float | None
    unit: str
    measure: object
    command: str
    needs: tuple[str, ...] = ()  # instruction sets that the processor must have
    at_most: bool = False
    profile: str = "auto"
    kernels: bool = False  # whether kernels_bench is asked

    def verdict(self, figure):
        """Whether the figure meets "goal" or "must", or "NOT MET"."""
        def kept(limit):
            return figure <= limit if self.at_most else figure >= limit

        if self.goal is not None and kept(self.goal):
            return "goal"
        return "must" if kept(self.must) else "NOT MET"

    def text(self, value):
        return "-" if value is None else f"{value:g}{' ' + self.unit if self.unit else ''}"


class Results:
    """Rows that were measured, in a file: what a run that was ended has done need not be done again. They are of one machine
    and one number of threads."""

    def __init__(self, path, machine, threads):
        self.path, self.head = path, {"schema_version": 1, "machine": machine, "threads": threads}
        self.rows = {}
        if not path.exists():
            return
        try:
            kept = json.loads(path.read_text())
            head = {name: kept[name] for name in self.head}
            self.rows = kept["rows"]
            for key, row in self.rows.items():
                check_row(key, row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise measure.Failed(f"{path}: not a file of bench/targets: {type(error).__name__} {error}") from error
        if head != self.head:
            raise measure.Failed(f"{path} is of {head['machine']}, {head['threads']} threads, and this is {machine}, "
                                 f"{threads}: name another --work")

    def has(self, key, rounds):
        """Whether the row was measured in so many rounds: fewer were a trial."""
        return key in self.rows and len(self.rows[key]["figures"]) >= rounds

    def keep(self, key, figures, note, busy, build):
        self.rows[key] = {"figures": figures, "note": note, "busy": busy, "build": build,
                          "load_average": round(os.getloadavg()[0], 2)}
        check_row(key, self.rows[key])
        partial = self.path.with_name(f"{self.path.name}.tmp")
        partial.write_text(json.dumps({**self.head, "rows": self.rows}, indent=2) + "\n")
        partial.replace(self.path)


def check_row(key, row):
    figures = row["figures"]
    if not isinstance(figures, list) or not figures or not all(isinstance(each, (int, float)) for each in figures):
        raise ValueError(f"{key}: figures are not numbers")
    if not isinstance(row["note"], str) or not isinstance(row["build"], str):
        raise ValueError(f"{key}: note or build is no text")
    if row["busy"] is not None and not isinstance(row["busy"], (int, float)):
        raise ValueError(f"{key}: busy is no number")


def missing_sets(target, sets):
    """Why this machine cannot have the row; None where it can."""
    missing = [name for name in target.needs if name not in sets]
    return f"not on this machine: no {', '.join(missing).upper()}" if missing else None


def table_line(target, row, problem):
    """`row`: as kept, or None; `problem`: why this run has no figure."""
    sign = "≤" if target.at_most else "≥"
    head = f"| {target.title} | {target.profile} | {sign} {target.text(target.must)} | {target.text(target.goal)} "
    if row is None:
        return head + f"| | {problem or 'not measured yet'} | `{target.command}` |\n"
    verdict = target.verdict(statistics.median(row["figures"]))
    if row["busy"] is not None and row["busy"] > measure.BUSY:
        verdict += f", disturbed: other programs took {100 * row['busy']:.0f} %"
    unit = f" {target.unit}" if target.unit else ""
    spread = measure.spread(row["figures"], 2 if target.unit else 3) + unit
    note = f"; {row['note']}" if row["note"] else ""
    note += f"; of an earlier run, this time: {problem}" if problem is not None else ""
    return head + f"| {spread} | {verdict}{note} | `{target.command}` |\n"


def table(targets, results, problems):
    """Markdown. `problems`: {key: reason} of rows that could not be measured."""
    text = "| target | profile | must | goal | measured: median (least to largest) | meets | command |\n"
    text += "|---|---|---|---|---|---|---|\n"
    for target in targets:
        text += table_line(target, results.rows.get(target.key), problems.get(target.key))
    builds = sorted({row["build"] for row in results.rows.values()})
    return text + (f"\nOf several builds: {'; '.join(builds)}.\n" if len(builds) > 1 else "")


def all_musts_met(targets, results):
    """Of the rows that were measured."""
    measured = [(target, results.rows[target.key]) for target in targets if target.key in results.rows]
    return all(target.verdict(statistics.median(row["figures"])) != "NOT MET" for target, row in measured)
