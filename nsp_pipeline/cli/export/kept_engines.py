"""`nsp export --list` and `--prune`: the engines in the cache."""

import time

from rich.table import Table
from rich.text import Text

from nsp_pipeline.cli.shared.say import note
from nsp_pipeline.cli.shared.standard_output import print_json, print_rich
from nsp_pipeline.engines.cache_folder import cache_folder
from nsp_pipeline.engines.tensorrt.cache import Entry, entries, useless
from nsp_pipeline.errors import OutputError

COLUMNS = ("sizes", "version", "gpu")


def list_engines(as_json: bool) -> None:
    """Print what the cache holds."""
    found = entries(cache_folder())
    if as_json:
        print_json({"folder": str(cache_folder()), "files": [_facts(entry) for entry in found]})
        return
    table = Table("file", *COLUMNS, "MB", "last used", title=f"engines in {cache_folder()}")
    for entry in found:
        identity = entry.identity or {"sizes": entry.trouble}
        cells = [entry.path.name, *(identity.get(name, "") for name in COLUMNS), f"{entry.size / 1e6:.1f}", _day(entry)]
        # Texts, not strings: a name with brackets in it is no markup.
        table.add_row(*map(Text, cells), style=None if entry.identity else "red")
    print_rich(table)


def prune_engines(as_json: bool) -> None:
    """Remove what nothing on this machine will take again; raises OutputError where that cannot be done."""
    from nsp_pipeline.engines.tensorrt.engine import this_machine

    here = this_machine()
    removed = []
    for entry in entries(cache_folder()):
        if reason := useless(entry, here):
            try:
                entry.path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{entry.path}: cannot be removed: {error.strerror or error}") from error
            removed.append({**_facts(entry), "why": reason})
            note(f"removed {entry.path.name}: {reason}")
    freed = sum(int(str(facts["bytes"])) for facts in removed)
    note(f"removed {len(removed)} files, {freed / 1e6:.1f} MB, from {cache_folder()}")
    if as_json:
        print_json({"folder": str(cache_folder()), "removed": removed})


def _facts(entry: Entry) -> dict[str, object]:
    trouble = {"trouble": entry.trouble} if entry.trouble else {}
    return {"file": entry.path.name, "bytes": entry.size, "used": _day(entry), **(entry.identity or {}), **trouble}


def _day(entry: Entry) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
