"""What bench/ahead_of_time keeps of compiled programs, and the tables of docs/tpu.md that it makes of them."""

import json
import re

import ahead_rows
import measure

# Of the memory's roof a decode step, and of the peak a prompt should reach.
GOALS = {ahead_rows.DECODE: 0.8, ahead_rows.PROMPT: 0.6}
# The roof that the goal is of, as `plan` calls its seconds.
ROOFS = {ahead_rows.DECODE: ("decode", "memory_seconds"), ahead_rows.PROMPT: ("prefill", "compute_seconds")}
NOTHING = "No row is compiled yet: `bench/ahead_of_time --update` fills this in."
MOST_OPERATIONS = 6

PLAN_NUMBERS = ("compute_seconds", "memory_seconds", "interconnect_seconds")
PROGRAM_NUMBERS = ("seconds", "argument_bytes", "output_bytes", "aliased_bytes", "temporary_bytes", "total_bytes")


class Results:
    """Rows that were compiled, in a file: what a run that was ended has done need not be done again."""

    def __init__(self, path):
        self.path, self.rows = path, {}
        if not path.exists():
            return
        try:
            kept = json.loads(path.read_text())
            if kept["schema_version"] != 1:
                raise ValueError(f"schema_version {kept['schema_version']}")
            self.rows = kept["rows"]
            for key, row in self.rows.items():
                check_row(key, row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise measure.Failed(f"{path}: not a file of bench/ahead_of_time: {type(error).__name__} {error}") from error

    def keep(self, key, row):
        check_row(key, row)
        self.rows[key] = row
        partial = self.path.with_name(f"{self.path.name}.tmp")
        partial.write_text(json.dumps({"schema_version": 1, "rows": self.rows}, indent=2) + "\n")
        partial.replace(self.path)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_row(key, row):
    """Raises ValueError, KeyError or TypeError where a table could not be made of it."""
    for refusal in row["refused"]:
        if not all(isinstance(refusal[name], str) for name in ("topology", "mesh", "said")):
            raise ValueError(f"{key}: a refusal is no text")
    if row["compiled"] is None:
        if not row["refused"]:
            raise ValueError(f"{key}: neither compiled nor refused")
        return
    compiled = row["compiled"]
    if not all(isinstance(compiled[name], str) for name in ("topology", "mesh", "plugin", "build")):
        raise ValueError(f"{key}: topology, mesh, plugin or build is no text")
    if compiled["capacity_bytes"] is not None and not is_number(compiled["capacity_bytes"]):
        raise ValueError(f"{key}: capacity_bytes is no number")
    for phase, more in (("decode", ("seconds", "best_seconds")), ("prefill", ())):
        if not all(is_number(compiled["plan"][phase][name]) for name in (*PLAN_NUMBERS, *more)):
            raise ValueError(f"{key}: the plan of {phase} is no numbers")
    for kind, program in compiled["programs"].items():
        if not all(is_number(program[name]) for name in PROGRAM_NUMBERS):
            raise ValueError(f"{key}: {kind} has no numbers")
        if program["estimated_seconds"] is not None and not is_number(program["estimated_seconds"]):
            raise ValueError(f"{key}: estimated_seconds of {kind} is no number")
        if not isinstance(program["name"], str):
            raise ValueError(f"{key}: the name of {kind} is no text")
        check_operations(f"{key}: {kind}", program)


def check_operations(where, program):
    if program["estimated_seconds"] is not None and not (is_number(program["estimated_cycles"]) and
                                                         program["estimated_cycles"] > 0 and is_number(program["open_loops"])):
        raise ValueError(f"{where}: estimated_cycles or open_loops is no number")
    for operation in program["operations"]:
        if not all(isinstance(operation[name], str) for name in ("name", "opcode")):
            raise ValueError(f"{where}: an operation has no name")
        if not all(is_number(operation[name]) for name in ("count", "estimated_cycles")):
            raise ValueError(f"{where}: {operation['name']} has no numbers")


# ------------------------------------------------------------------------------------ numbers


def milliseconds(seconds):
    return "-" if seconds is None else f"{1e3 * seconds:.2f}"


def percent(share):
    return "-" if share is None else f"{100 * share:.0f} %"


def gigabytes(count):
    return "-" if count is None else f"{count / 1e9:.2f}"


def share_of_roof(compiled, kind):
    """The roof's seconds over the estimated ones; None where nothing is estimated."""
    phase, roof = ROOFS[kind]
    estimate = compiled["programs"][kind]["estimated_seconds"]
    return compiled["plan"][phase][roof] / estimate if estimate else None


def is_below(compiled, kind):
    share = share_of_roof(compiled, kind)
    return share is not None and share < GOALS[kind]


# ------------------------------------------------------------------------------------ tables


def table(titles, lines):
    """Markdown."""
    head = ["| " + " | ".join(titles) + " |", "|" + "|".join("---" for _ in titles) + "|"]
    cells = [[str(cell).replace("|", "/") for cell in line] for line in lines]
    return "\n".join(head + ["| " + " | ".join(line) + " |" for line in cells])


def devices_of(entry):
    return f"{entry['topology']}, {entry['mesh']}" if entry["mesh"] else entry["topology"]


def compiled_rows(rows, results):
    """(row, what was compiled of it), in order."""
    for row in rows:
        kept = results.rows.get(row.key)
        if kept is not None and kept["compiled"] is not None:
            yield row, kept["compiled"]


def memory_table(rows, results):
    lines = []
    for row, compiled in compiled_rows(rows, results):
        for program in compiled["programs"].values():
            new = program["output_bytes"] - program["aliased_bytes"]
            lines.append([row.title, devices_of(compiled), program["name"], gigabytes(program["argument_bytes"]),
                          f"{new / 1e6:.2f}", f"{program['temporary_bytes'] / 1e6:.1f}", gigabytes(program["total_bytes"]),
                          gigabytes(compiled["capacity_bytes"]), f"{program['seconds']:.1f}"])
    return lines and table(["model", "devices", "program", "arguments, GB", "new outputs, MB", "temporary, MB", "total, GB",
                            "of, GB", "compiled in, s"], lines)


def decode_table(rows, results):
    lines = []
    for row, compiled in compiled_rows(rows, results):
        program = compiled["programs"].get(ahead_rows.DECODE)
        if program is None:
            continue
        plan = compiled["plan"]["decode"]
        published = None if row.published is None else 1 / row.published
        lines.append([row.title, devices_of(compiled), f"{row.batch} x {row.context}",
                      milliseconds(program["estimated_seconds"]), milliseconds(plan["memory_seconds"]),
                      percent(share_of_roof(compiled, ahead_rows.DECODE)), milliseconds(plan["best_seconds"]),
                      milliseconds(plan["seconds"]), milliseconds(published)])
    return lines and table(["model", "devices", "batch x context", "compiler, ms", "memory's roof, ms", "share of it",
                            "best, ms", "planned, ms", "published, ms"], lines)


def prefill_table(rows, results):
    lines = []
    for row, compiled in compiled_rows(rows, results):
        program = compiled["programs"].get(ahead_rows.PROMPT)
        if program is None:
            continue
        plan = compiled["plan"]["prefill"]
        lines.append([row.title, devices_of(compiled), program["name"], milliseconds(program["estimated_seconds"]),
                      milliseconds(plan["compute_seconds"]), percent(share_of_roof(compiled, ahead_rows.PROMPT)),
                      milliseconds(plan["memory_seconds"]), milliseconds(plan["interconnect_seconds"])])
    return lines and table(["model", "devices", "program", "compiler, ms", "peak, ms", "share of it", "memory, ms",
                            "links, ms"], lines)


def operations_text(program):
    parts = []
    for operation in program["operations"][:MOST_OPERATIONS]:
        share = operation["estimated_cycles"] / program["estimated_cycles"]
        parts.append(f"{operation['name']} ({operation['opcode']}, {operation['count']}) {percent(share)}")
    return "; ".join(parts)


def operations_table(rows, results):
    """Of the programs whose estimate is further from its roof than the goal."""
    lines = []
    for row, compiled in compiled_rows(rows, results):
        for kind in (ahead_rows.DECODE, ahead_rows.PROMPT):
            if kind not in compiled["programs"] or not is_below(compiled, kind):
                continue
            program = compiled["programs"][kind]
            lines.append([row.title, devices_of(compiled), program["name"], percent(share_of_roof(compiled, kind)),
                          operations_text(program), program["open_loops"]])
    if not lines and any(True for _ in compiled_rows(rows, results)):
        return "No program with an estimate is below its goal."
    return lines and table(["model", "devices", "program", "share of its roof", "operations: share of the estimate",
                            "open loops"], lines)


def refused_table(rows, results):
    lines = []
    for row in rows:
        for refusal in results.rows.get(row.key, {"refused": []})["refused"]:
            lines.append([row.title, devices_of(refusal), f"{row.batch} x {row.context}", refusal["said"]])
    if not lines and results.rows:
        return "No row was refused."
    return lines and table(["model", "devices", "batch x context", "what `compile` says, with exit code 4"], lines)


def made_by(rows, results):
    """Of what the figures are, and which rows have none."""
    compiled = [entry for _, entry in compiled_rows(rows, results)]
    text = ""
    if compiled:
        plugins = ", ".join(sorted({entry["plugin"] for entry in compiled}))
        builds = "; ".join(sorted({entry["build"] for entry in compiled}))
        text = f"Compiled by {plugins}, with {builds}."
    missing = [row.key for row in rows if row.key not in results.rows]
    if missing and len(missing) < len(rows):
        text += f"{' ' if text else ''}Not compiled yet: {', '.join(missing)}."
    return text


TABLES = {"made-by": made_by, "memory": memory_table, "decode": decode_table, "prefill": prefill_table,
          "operations": operations_table, "refused": refused_table}


def all_tables(rows, results):
    """{name: Markdown}."""
    return {name: make(rows, results) or NOTHING for name, make in TABLES.items()}


def with_tables(page, tables):
    """The page with what stands between "<!-- table: NAME -->" and "<!-- end -->" replaced. Raises Failed where a place is
    missing."""
    for name, text in tables.items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.S)
        if not pattern.search(page):
            raise measure.Failed(f"no place for the table {name}: <!-- table: {name} --> and <!-- end -->")
        page = pattern.sub(lambda match, made=text: f"{match[1]}{made}\n{match[2]}", page)
    return page
