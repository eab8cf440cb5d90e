"""Write a page for every command from its own help, into docs/commands.

    python docs/make_command_pages.py [--check]

With --check nothing is written, and the exit code is 1 when a page is not what the commands say now.
"""

import argparse
import sys
from pathlib import Path

import click

from nsp_pipeline.cli.main import COMMANDS, nsp

FOLDER = Path(__file__).parent / "commands"
WIDTH = 100


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description="Write the commands' pages.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a page is out of date")
    check = parser.parse_args().check
    expected = pages()
    stale = [name for name, text in expected.items() if _current(name) != text]
    stale += sorted(path.name for path in FOLDER.glob("*.md") if path.name not in expected)
    if check:
        if stale:
            print(f"out of date: {', '.join(stale)}; run python docs/make_command_pages.py", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.md"):
        path.unlink()
    for name, text in expected.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


def pages() -> dict[str, str]:
    """Every page by its file name."""
    root = click.Context(nsp, info_name="nsp", terminal_width=WIDTH, max_content_width=WIDTH)
    commands = {name: nsp.get_command(root, name) for name in nsp.list_commands(root)}
    written = {f"{name}.md": _page(command, name, root) for name, command in commands.items() if command}
    lines = "".join(f"- [nsp {name}]({name}.md): {COMMANDS[name].summary}\n" for name in commands)
    index = f"# Commands\n\nMade from the commands' own help by `docs/make_command_pages.py`.\n\n{lines}"
    return {"index.md": index, **written}


def _page(command: click.Command, name: str, parent: click.Context) -> str:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)
    parts = [f"# {context.command_path}\n\n{_help(command, context)}"]
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            sub = command.get_command(context, child)
            assert sub
            inner = click.Context(sub, info_name=child, parent=context, terminal_width=WIDTH, max_content_width=WIDTH)
            parts.append(f"## {inner.command_path}\n\n{_help(sub, inner)}")
    return "\n".join(parts)


def _help(command: click.Command, context: click.Context) -> str:
    return f"```text\n{command.get_help(context)}\n```\n"


def _current(name: str) -> str | None:
    path = FOLDER / name
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    raise SystemExit(main())
