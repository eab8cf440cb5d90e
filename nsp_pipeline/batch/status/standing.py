"""Where each photo stands: one record of every photo, though runs with other formats or names left several."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from nsp_pipeline.batch.output.record import Row


@dataclass(frozen=True)
class Standing:
    """What a record says of its photos."""

    latest: tuple[Row, ...]
    """One of each photo, by output: its failure where a run failed of it last, else what was last asked for."""
    earlier: tuple[Row, ...]
    """Finished outputs of these photos besides: of another format, name or setting, or of a photo that failed since."""


def where_they_stand(made: Iterable[Row], unmade: Iterable[Row], wanted: Collection[tuple[str, str]]) -> Standing:
    """Sort the records of finished outputs (`made`), and of photos that failed or were left out, by their photos.

    A failure stands until its photo is made, or is to get another name; so it is newer than all that was made.

    Args:
        wanted: hashes of settings and profile that the last run worked with; empty: not known.
    """
    unmade = list(unmade)
    failed = {row.input for row in unmade}
    chosen: dict[str, Row] = {}
    earlier = []
    for row in made:
        photo = row.input or row.output
        if photo in failed:
            earlier.append(row)
            continue
        other = chosen.setdefault(photo, row)
        if other is not row:
            newer, older = (row, other) if _rank(row, wanted) > _rank(other, wanted) else (other, row)
            chosen[photo] = newer
            earlier.append(older)
    latest = sorted([*chosen.values(), *unmade], key=lambda row: (row.output, row.input))
    return Standing(tuple(latest), tuple(sorted(earlier, key=lambda row: row.output)))


def _rank(row: Row, wanted: Collection[tuple[str, str]]) -> tuple[bool, float]:
    return (row.settings, row.profile_sha256) in wanted, row.finished or 0.0
