"""What a script that takes long has measured, in a file."""

import json
import sys


class Kept:
    """Rows of a script that takes long, in a file as soon as each is measured: a run that was ended goes on. They are of one
    `settings`, which is to name all that figures depend on; a file of others is moved to NAME.old."""

    def __init__(self, path, settings, again=False):
        """`again`: begins anew."""
        self.path, self.rows = path, {}
        self.settings = json.loads(json.dumps(settings, default=str))
        if not path.exists():
            return
        try:
            kept = json.loads(path.read_text())
            found, rows = kept["settings"], kept["rows"]
            if not isinstance(rows, dict):
                raise TypeError("rows is no object")
        except (ValueError, KeyError, TypeError) as error:
            sys.exit(f"error: {path}: not a file of kept rows: {type(error).__name__} {error}")
        if found == self.settings and not again:
            self.rows = rows
            print(f"{path}: {len(rows)} rows are there already (--again measures them anew)", file=sys.stderr)
            return
        older = path.with_name(f"{path.name}.old")
        path.replace(older)
        print(f"{path}: of {'an earlier run' if again else 'other settings or another build'}, now {older.name}",
              file=sys.stderr)

    def row(self, key, make):
        """The row of this key, which make() measures where it is not there."""
        if key not in self.rows:
            # As it will be read.
            self.rows[key] = json.loads(json.dumps(make()))
            partial = self.path.with_name(f"{self.path.name}.tmp")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps({"schema_version": 1, "settings": self.settings, "rows": self.rows}, indent=1) + "\n")
            partial.replace(self.path)
        return self.rows[key]
