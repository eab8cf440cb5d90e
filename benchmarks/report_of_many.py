"""How long the report of many photos takes, how large it is, and how soon a browser shows it.

    python benchmarks/report_of_many.py [--photos 10000] [--megapixels 2] [--folder FOLDER]

Makes a few pairs of photos and results and links them under many names, with a manifest as a run would leave it.
The browser needs Playwright and a Chromium; without them it is left out.
"""

import argparse
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from rich.console import Console

from nsp_pipeline.batch.output.manifest import MANIFEST_FILE, Manifest, read_manifest
from nsp_pipeline.batch.output.record import COLUMNS, Row, Status, to_values
from nsp_pipeline.batch.provenance import Provenance
from nsp_pipeline.cli.report import USUAL, report_on

PAIRS = 20
CAMERAS = ("NIKON D800", "Canon EOS 5D Mark II", "ILCE-7M2", "Canon EOS 80D")
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def main() -> None:
    """Make the folder, the report, and say what came out."""
    parser = argparse.ArgumentParser(description="Measure the report of many photos.")
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--megapixels", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, help="keep photos and report here")
    asked = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        root, page = folder / "clean", folder / "report.html"
        rows = _archive(folder, asked.photos, asked.megapixels)
        _record(root, rows)
        began = time.monotonic()
        with read_manifest(root) as manifest:
            assert manifest
            report_on(root, manifest, page, USUAL, Console(stderr=True))
        print(f"{asked.photos} photos: {time.monotonic() - began:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
        if paint := _first_paint(page):
            print(f"first paint after {paint:.2f} s, all drawn after {_drawn(page):.2f} s")


def _archive(folder: Path, count: int, megapixels: float) -> list[Row]:
    rng = np.random.default_rng(0)
    side = int(1000 * megapixels**0.5)
    rows = []
    for kind in ("photos", "clean"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        name = f"{number // 500:03}/photo {number:05}.jpg"
        for kind in ("photos", "clean"):
            path = folder / kind / name
            path.parent.mkdir(exist_ok=True)
            model = folder / f"{kind}-{number % PAIRS}.jpg"
            if not model.exists():
                noise = rng.normal(0, 8 if kind == "photos" else 1, (side, side, 3))
                exif = Image.Exif()
                exif[272] = CAMERAS[number % len(CAMERAS)]
                exif.get_ifd(0x8769)[34855] = 800 << number % 3
                pixels = np.clip(120 + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(model, exif=exif, quality=92)
            os.link(model, path)
        rows.append(_row(folder, name, number))
    return rows


def _row(folder: Path, name: str, number: int) -> Row:
    source, result = (folder / kind / name for kind in ("photos", "clean"))
    made = Provenance(
        *("onnx", "CPUExecutionProvider", "fp32", None),
        1.5,
        2.0,
        0.97,
        noise_before=6 + number % 5,
        noise_after=1.0,
        lost="",
    )
    failed = number % 100 == 99
    return Row(
        name,
        str(source),
        Status.FAILED if failed else Status.DONE,
        input_size=source.stat().st_size,
        input_mtime_ns=source.stat().st_mtime_ns,
        profile="standard",
        why="made for everything",
        error="the file ends early" if failed else None,
        lasting=failed,
        output_size=result.stat().st_size,
        output_mtime_ns=result.stat().st_mtime_ns,
        finished=1.7e9 + 3 * number,
        made=Provenance() if failed else made,
    )


def _record(root: Path, rows: list[Row]) -> None:
    (root / ".nsp").mkdir()
    with Manifest.open(root):
        pass
    marks = ", ".join("?" for _ in COLUMNS)
    with closing(sqlite3.connect(root / ".nsp" / MANIFEST_FILE)) as connection, connection:
        for table, status in (("photos", Status.DONE), ("unmade", Status.FAILED)):
            values = [to_values(row) for row in rows if row.status == status]
            connection.executemany(f"INSERT INTO {table} ({', '.join(COLUMNS)}) VALUES ({marks})", values)


def _first_paint(page: Path) -> float | None:
    if not shutil.which("chromium"):
        return None
    return _in_browser(page, FIRST_PAINT) / 1000


def _drawn(page: Path) -> float:
    return _in_browser(page, "performance.timing.loadEventEnd - performance.timing.navigationStart") / 1000


def _in_browser(page: Path, expression: str) -> float:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(page.absolute().as_uri())
        tab.wait_for_timeout(500)
        value = float(tab.evaluate(expression))
        browser.close()
    return value


if __name__ == "__main__":
    main()
