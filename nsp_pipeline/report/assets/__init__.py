"""What pages are made of besides words and pictures: style sheets and scripts, which they hold themselves."""

from importlib.resources import files


def asset(name: str) -> str:
    """The text of one of the files beside this one."""
    return (files(__name__) / name).read_text(encoding="utf-8")
