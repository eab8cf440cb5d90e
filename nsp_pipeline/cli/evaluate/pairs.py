"""The pairs that `nsp evaluate` measures, and what is said of photos that are none."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from nsp_pipeline.cli.shared.finding import search_lines
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.errors import PhotoError
from nsp_pipeline.evaluation.datasets.pairs import PairSearch
from nsp_pipeline.evaluation.datasets.sources import open_pairs
from nsp_pipeline.evaluation.measure import NoisyAndClean
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.find import Findings
from nsp_pipeline.frames.find_rules import FindRules

NAMED = 5
"""Photos without a partner that are named; of more, the number must do."""


@dataclass(frozen=True)
class Truth:
    """Where noisy and clean photos are, and which of them count."""

    noisy: Path
    clean: Path
    rules: FindRules
    unreadable: list[PhotoError] = field(default_factory=list)
    """Folders and links that could not be looked at, once the pairs are open."""

    def open(self, console: Console) -> Sequence[NoisyAndClean]:
        """Find the pairs, and say what was left out; raises as `open_pairs` does."""

        def hear(found: Findings) -> None:
            self.unreadable.extend(entry.error for entry in found.unreadable)
            for line in search_lines(found):
                say(console, line)

        search = PairSearch(self.rules, hear, lambda photos: say(console, without_truth(photos)))
        return open_pairs(self.noisy, self.clean, search)


def without_truth(photos: Sequence[Path]) -> str:
    """What is said of noisy photos that are left out."""
    names = ", ".join(printable(photo.name) for photo in photos[:NAMED]) + (", …" if len(photos) > NAMED else "")
    return f"left out, without ground truth: {len(photos)} noisy photos ({names})"
