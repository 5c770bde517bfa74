"""Runs two engines in turn, and what comes of it: pairs of speeds, their table and chart."""

import dataclasses
import statistics
import sys

import charts
import measure
from peers.base import Unavailable


@dataclasses.dataclass
class Pairs:
    """One test of one model: in every round ours right before theirs."""
    model: str
    test: str
    peer: str
    weights: str = ""
    ours: list[float] = dataclasses.field(default_factory=list)
    theirs: list[float] = dataclasses.field(default_factory=list)
    busy: list[float] = dataclasses.field(default_factory=list)  # other programs, during either
    problem: str | None = None

    @property
    def ratios(self):
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    def add(self, ours, theirs, busy):
        """Speeds of a round, or why there is none."""
        if isinstance(ours, Unavailable) or isinstance(theirs, Unavailable):
            who = "dunlin: " if isinstance(ours, Unavailable) else ""
            self.problem = who + str(ours if isinstance(ours, Unavailable) else theirs)
            return
        self.ours.append(ours)
        self.theirs.append(theirs)
        self.busy += [share for share in busy if share is not None]


def timed(side, context, prepared, tests):
    """({test: speed or Unavailable}, share of other programs): a side that cannot run at all has a problem in each test."""
    with measure.OtherCpu() as other:
        try:
            found = side.run(context, prepared, tests)
        except Unavailable as problem:
            found = {test: problem for test in tests}
    return found, other.share


def run_round(context, ours, theirs, tests, pairs):
    """One round of both over the tests that have no problem so far. `ours`, `theirs`: (side, prepared model)."""
    left = [test for test in tests if pairs[test].problem is None]
    if not left:
        return
    mine, busy = timed(ours[0], context, ours[1], left)
    other, other_busy = timed(theirs[0], context, theirs[1], left)
    if context.dry_run:
        return
    for test in left:
        pairs[test].add(mine[test], other[test], (busy, other_busy))


def run_rounds(context, ours, peers, tests, rounds, model_name, after_round=lambda pairs: None):
    """[Pairs] of all peers and tests. `ours`: (side, prepared); `peers`: [(peer, prepared, weights)]. Within a round the peers
    take turns, so that a machine whose speed drifts treats all alike; after it after_round() gets the pairs so far."""
    found = [{test: Pairs(model_name, test.name, peer.name, weights) for test in tests} for peer, _, weights in peers]
    for number in range(1 if context.dry_run else rounds):
        for (peer, prepared, _), pairs in zip(peers, found):
            if not context.dry_run:
                print(f"{model_name}: round {number + 1} of {rounds}, {peer.name}", file=sys.stderr)
            run_round(context, ours, (peer, prepared), tests, pairs)
        if not context.dry_run:
            after_round(all_of(found))
    return [] if context.dry_run else all_of(found)


def all_of(found):
    return [each for pairs in found for each in pairs.values()]


# ------------------------------------------------------------------------------------ what comes of it


HEADER = ("| model | test | engine, its weights | dunlin, tokens/s: median (least to largest) | engine "
          "| dunlin / engine, of pairs | other programs, at most |\n|---|---|---|---:|---:|---:|---:|\n")


def table(pairs):
    """Markdown: a line for each, with the reason where there is no figure."""
    lines = []
    for each in pairs:
        head = f"| {each.model} | {each.test} | {each.peer}: {each.weights} "
        if each.problem is not None:
            lines.append(head + f"| | | not run: {each.problem} | |")
        else:
            lines.append(head + f"| {measure.spread(each.ours, 1)} | {measure.spread(each.theirs, 1)} "
                                f"| {measure.spread(each.ratios, 2)} | {measure.busy_text(each.busy)} |")
    return HEADER + "".join(line + "\n" for line in lines)


def not_run_list(reasons):
    """Markdown of [(model, peer, reason)]: peers that were not even begun."""
    if not reasons:
        return ""
    return "\nNot run:\n\n" + "".join(f"- {model}, {peer}: {reason}\n" for model, peer, reason in reasons)


def chart(pairs, note):
    """SVG of all ratios; None where there is none."""
    groups = {}
    for each in pairs:
        if each.problem is None and each.ratios:
            bar = (each.peer, statistics.median(each.ratios), min(each.ratios), max(each.ratios))
            groups.setdefault(f"{each.model}, {each.test}", []).append(bar)
    return charts.ratio_bars("How many times as fast dunlin is", note, list(groups.items())) if groups else None


def to_json(pairs, reasons, settings):
    return {"schema_version": 1, **settings,
            "pairs": [{**dataclasses.asdict(each), "ratios": each.ratios} for each in pairs],
            "not_run": [{"model": model, "peer": peer, "reason": reason} for model, peer, reason in reasons]}
