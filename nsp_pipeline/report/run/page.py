"""The report of a run as a page: what matters first and drawn at once, thousands of photos as data behind it."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from nsp_pipeline.batch.listeners.words import duration, noise_notes
from nsp_pipeline.batch.output.record import Status
from nsp_pipeline.engines.words import engine_in_words
from nsp_pipeline.report.page import whole_page
from nsp_pipeline.report.run.entries import Entry, Group, groups_of
from nsp_pipeline.report.run.pictures import Pictures
from nsp_pipeline.report.run.remedies import remedy_for
from nsp_pipeline.report.run.timeline import timeline

NAMED = 20
"""Failed photos of one reason that are named at once; the others stand in the list below."""


@dataclass(frozen=True)
class RunReport:
    """All that a report says. `runs` are the manifest's records of the last run and its sister shards."""

    output: str
    source: str
    """The folder that the photos lie in."""
    entries: Sequence[Entry]
    pictures: Mapping[str, Pictures]
    """By output."""
    runs: Sequence[Mapping[str, Any]]


def run_page(report: RunReport) -> str:
    """Write the page; nothing is loaded from elsewhere."""
    groups = groups_of(report.entries)
    body = "\n".join(
        [
            f"<h1>{escape(report.output)}</h1>",
            f'<p class="soft">{_headline(report)}</p>',
            _failures(report.entries),
            _totals(report),
            _cameras(groups),
            _photos(report),
            _data(report),
        ]
    )
    return whole_page(f"nsp: {report.output}", body, styles=["run.css"], scripts=["run.js"])


def _headline(report: RunReport) -> str:
    made = f"made from {escape(report.source)}" if report.source else ""
    last = report.runs[0] if report.runs else None
    if last is None:
        return made
    if last["ended"] is None:
        return f"{made}; the last run began {_when(last['started'])} and has not ended, or was killed"
    return f"{made}; the last run ended {_when(last['ended'])}: {escape(str(last['outcome']))}"


def _failures(entries: Sequence[Entry]) -> str:
    failed = [entry for entry in entries if entry.row.status == Status.FAILED]
    if not failed:
        return '<p class="good">No photo failed.</p>'
    reasons: dict[tuple[str, str], list[Entry]] = {}
    for entry in failed:
        error = entry.row.error or "for a reason that was not recorded"
        reasons.setdefault((error, remedy_for(entry.row)), []).append(entry)
    ranked = sorted(reasons.items(), key=lambda reason: -len(reason[1]))
    blocks = "".join(
        f"<li><b>{_counted(len(of_it))}: {escape(error)}</b><br>What helps: {escape(remedy)}."
        f"{_names([entry.row.input for entry in of_it])}</li>"
        for (error, remedy), of_it in ranked
    )
    return f'<section class="bad"><h2>{_counted(len(failed))} failed</h2><ul>{blocks}</ul></section>'


def _names(names: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(name)}</li>" for name in names[:NAMED])
    more = f"<li>and {len(names) - NAMED} more, in the list below</li>" if len(names) > NAMED else ""
    return f'<ul class="names">{items}{more}</ul>'


def _totals(report: RunReport) -> str:
    by_status = {status: [e for e in report.entries if e.row.status == status] for status in Status}
    done = by_status[Status.DONE]
    megapixels = sum(entry.row.made.megapixels or 0.0 for entry in done)
    seconds = sum(entry.row.made.seconds or 0.0 for entry in done)
    damaged = sum(bool(entry.row.made.damaged) for entry in done)
    engines = sorted({_engine(entry) for entry in done if entry.row.made.engine})
    facts = [
        ("photos done", str(len(done)) + (f" ({damaged} of them damaged)" if damaged else "")),
        ("failed", str(len(by_status[Status.FAILED]))),
        ("left out, for want of a profile", str(len(by_status[Status.LEFT_OUT]))),
        ("megapixels", f"{megapixels:,.0f}".replace(",", " ")),
        ("time at work", f"{duration(seconds)}, {seconds / megapixels:.2f} s a megapixel" if megapixels else ""),
        ("engines", "; ".join(engines)),
    ]
    rows = "".join(
        f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in facts if value not in ("", "0")
    )
    drawn = timeline([entry.row for entry in done])
    line = f"<h3>Megapixels by time</h3>{drawn}" if drawn else ""
    return f"<section><h2>In all</h2><table>{rows}</table>{line}</section>"


def _cameras(groups: Sequence[Group]) -> str:
    if not groups:
        return ""
    highest = max(group.noise_before for group in groups) or 1.0
    rows = "".join(
        f"<tr><th>{escape(group.camera)}</th><td>{group.iso or ''}</td><td>{escape(group.profile)}</td>"
        f"<td>{group.photos}</td><td>{group.megapixels:.0f}</td>"
        f"<td>{group.noise_before:.1f} → {group.noise_after:.1f}"
        f'<i class="bar" style="--before:{group.noise_before / highest:.3f};--after:{group.noise_after / highest:.3f}">'
        f"</i></td><td>{100 * group.strength:.0f} %</td><td>{duration(group.seconds)}</td></tr>"
        for group in groups
    )
    return f"""<section><h2>Cameras</h2><p class="soft">Noise is the standard deviation in flat places, of 255, before
and after; strength is the share of what the network would remove that was removed.</p>
<div class="wide"><table class="cameras"><tr><th>camera</th><th>ISO</th><th>profile</th><th>photos</th>
<th>megapixels</th><th>noise (of 255)</th><th>strength</th><th>time</th></tr>{rows}</table></div></section>"""


def _photos(report: RunReport) -> str:
    done = sum(entry.row.status == Status.DONE for entry in report.entries)
    note = ""
    if len(report.pictures) < done:
        note = (
            f" {len(report.pictures)} of {done} have pictures; <code>nsp report</code> makes more with "
            "<code>--pictures N</code> and <code>--max-time TIME</code>."
        )
    return f"""<section><h2>Photos</h2><p class="soft">Each at 100 %, where most was removed. Drag the border, or
use the arrow keys.{note}</p>
<noscript>The list of photos needs JavaScript.</noscript>
<form class="bar" id="filters" hidden><label>state <select name="state"></select></label>
<label>camera <select name="camera"></select></label><label>ISO <select name="iso"></select></label>
<label>folder <select name="folder"></select></label>
<label>name <input type="search" name="text" placeholder="part of a name"></label>
<label>order <select name="order"><option value="">by name</option><option value="noise">most noise first</option>
<option value="seconds">slowest first</option></select></label>
<label>zoom <select name="zoom"><option value="1">100 %</option><option value="2">200 %</option></select></label></form>
<p id="count" role="status"></p><div id="cards"></div>
<p class="bar" id="pages" hidden><button type="button" id="back">back</button><span id="page"></span>
<button type="button" id="on">on</button></p></section>"""


def _data(report: RunReport) -> str:
    """What the script draws the photos from: a line for each, and the pictures, each an element of its own."""
    photos = json.dumps([_line(entry, entry.row.output in report.pictures) for entry in report.entries])
    blocks = [_block("photos", photos)]
    for number, entry in enumerate(report.entries):
        if pictures := report.pictures.get(entry.row.output):
            parts = [base64.b64encode(part).decode() for part in (pictures.before, pictures.after, pictures.removed)]
            blocks.append(_block(f"pictures-{number}", json.dumps([*parts, pictures.width, pictures.height])))
    return "\n".join(blocks)


def _block(name: str, text: str) -> str:
    # No name of a photo may end the element: "<" is written as JSON writes other odd letters.
    safe = text.replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{safe}</script>'


def _line(entry: Entry, with_pictures: bool) -> dict[str, Any]:
    row, made = entry.row, entry.row.made
    state = "damaged" if row.status == Status.DONE and made.damaged else str(row.status)
    values = {
        "name": entry.name,
        "folder": entry.folder,
        "input": row.input,
        "state": state,
        "camera": entry.camera,
        "iso": entry.iso,
        "before": _rounded(made.noise_before),
        "after": _rounded(made.noise_after),
        "strength": _rounded(made.strength),
        "notes": ", ".join(noise_notes(made)) or None,
        "megapixels": _rounded(made.megapixels),
        "seconds": _rounded(made.seconds),
        "profile": row.profile,
        "why": row.why,
        "engine": _engine(entry) if made.engine else None,
        "error": row.error or made.damaged,
        "remedy": remedy_for(row) if row.status == Status.FAILED else None,
        "lost": made.lost or None,
        "pictures": with_pictures or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _engine(entry: Entry) -> str:
    made = entry.row.made
    return engine_in_words(made.engine or "", made.provider or "", made.precision or "") + (
        f" ({made.fallback})" if made.fallback else ""
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _counted(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
