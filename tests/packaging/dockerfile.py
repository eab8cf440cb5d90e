"""The Dockerfile, read as far as the tests need it: instructions with their arguments, stage by stage."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Instruction:
    """One instruction; continued lines are joined."""

    word: str
    argument: str


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, its FROM first; what stands before the first FROM is left out."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        word, _, argument = line.partition(" ")
        if word == "FROM":
            found.append([])
        if word and found:
            found[-1].append(Instruction(word, argument.strip()))
    return found


def arguments(stage: list[Instruction], word: str) -> list[str]:
    """The arguments of every instruction of one word."""
    return [instruction.argument for instruction in stage if instruction.word == word]


def context() -> list[str]:
    """Files and folders of the repository that .dockerignore lets through."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    return [line[1:] for line in lines if line.startswith("!")]
