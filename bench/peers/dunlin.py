"""dunlin itself, timed as the peers are: `bench model` for one sequence, `bench sweep` for several."""

from peers import base, llama_cpp


class Dunlin:
    name = "dunlin"

    def __init__(self, isa=None, rows=None, precision=None):
        """`rows`: the most prompt tokens in a step of several sequences, where it is not dunlin's own; `precision`: the
        profile, where it is not the context's."""
        self.isa, self.rows, self.precision = isa, rows, precision

    def run(self, context, model, tests):
        """{test: tokens per second, or Unavailable}; a dry run returns {}."""
        measured = {}
        for test in tests:
            try:
                measured[test] = self.speed(context, model, test)
            except base.Unavailable as problem:
                measured[test] = problem
        return {} if context.dry_run else measured

    def speed(self, context, model, test):
        if test.batch == 1:
            found = self.bench(context, "model", model, "-r", "1", *llama_cpp.bench_flags(test))
            return None if found is None else llama_cpp.only_speed(found.get("results"))
        if test.generate == 0:
            raise base.Unavailable("prompts of several sequences are not timed")
        # Its times are of whole answers: one of a single token is the prompt's part.
        prompt, answer = (self.sweep_seconds(context, model, test, tokens) for tokens in (1, 1 + test.generate))
        if context.dry_run:
            return None
        if answer <= prompt:
            raise base.Unavailable(f"{1 + test.generate} tokens took {answer} s and one {prompt} s: disturbed")
        return test.tokens / (answer - prompt)

    def sweep_seconds(self, context, model, test, tokens):
        rows = [] if self.rows is None else ["-ub", self.rows]
        found = self.bench(context, "sweep", model, "-r", "1", "--batch", test.batch, "-p", test.context, "-n", tokens, *rows)
        return None if found is None else sweep_seconds(found, test.batch)

    def bench(self, context, what, model, *flags):
        """The JSON of `dunlin bench WHAT`."""
        precision = self.precision or context.precision
        command = [context.dunlin, "bench", what, model, "-t", context.threads, "--precision", precision, "--json"]
        environment = {"DUNLIN_ISA": self.isa} if self.isa else None
        return context.execute_json([*command, *flags], pinned=True, environment=environment)


def sweep_seconds(sweep, batch):
    """Seconds of the one run of that batch. Raises Unavailable, which says why it did not fit."""
    try:
        side = sweep["results"][0]
        rows = [row for row in side["rows"] if row["batch"] == batch]
        if not rows:
            raise base.Unavailable("; ".join(side["issues"]) or f"no row of batch {batch}")
        (seconds,) = rows[0]["samples_seconds"]
        return float(seconds)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise base.Unavailable(f"not a sweep: {type(error).__name__} {error}") from error
