import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from nsp_pipeline.batch.output import database
from nsp_pipeline.batch.output.manifest import Manifest, read_manifest
from nsp_pipeline.batch.output.record import COLUMNS, Row, Status
from nsp_pipeline.batch.provenance import Provenance
from nsp_pipeline.cli.main import main
from nsp_pipeline.errors import OutputError


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_tables_have_the_columns_of_a_record(tmp_path: Path) -> None:
    with Manifest.open(tmp_path), sqlite3.connect(tmp_path / ".nsp" / "manifest.sqlite") as connection:
        for table in ("photos", "publishing", "unmade"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            assert sorted(columns) == sorted(COLUMNS)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    row = Row(
        "a.jpg", "/in/a.jpg", Status.DONE, 1, 2**62, "aa", "bb", "fake", "cc", "why", None, False, "0.1.0",
        3, 2**61, "dd", 1, 1e9,
        Provenance("onnx", "CPU", "fp32", "slow", 1.5, 24.1, 0.7, 6.1, 1.2, "cut off", "a; b", 0.6, 3.5),
    )  # fmt: skip
    with Manifest.open(tmp_path) as manifest:
        manifest.published(row)
    with Manifest.open(tmp_path) as manifest:
        assert manifest.find("a.jpg") == row
        assert manifest.published_photos() == [row]


def test_writing_it_leaves_one_file(tmp_path: Path) -> None:
    with Manifest.open(tmp_path) as manifest:
        manifest.record_unmade(Row("a.jpg", "/in/a.jpg", Status.FAILED))
    assert [path.name for path in (tmp_path / ".nsp").iterdir()] == ["manifest.sqlite"]


def test_many_threads_and_runs_may_write_at_once(tmp_path: Path) -> None:
    def record(manifest: Manifest, run: int, worker: int) -> None:
        for number in range(10):
            manifest.published(Row(f"{run}-{worker}-{number}", "/in", Status.DONE))

    manifests = [Manifest.open(tmp_path) for _ in range(3)]
    threads = [
        threading.Thread(target=record, args=(manifest, run, worker))
        for run, manifest in enumerate(manifests)
        for worker in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(manifests[0].published_photos()) == 90
    for manifest in manifests:
        with manifest:
            pass


def killed_in_a_transaction(tmp_path: Path) -> Path:
    """A manifest as a run leaves it that is killed while the database writes: with a journal to play back."""
    with Manifest.open(tmp_path / "alive") as manifest:
        manifest.published(Row("a.jpg", "/in/a.jpg", Status.DONE))
    writer = sqlite3.connect(tmp_path / "alive" / ".nsp" / "manifest.sqlite", isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN IMMEDIATE")
    for number in range(400):
        writer.execute("INSERT INTO settings VALUES (?, ?)", (str(number), "x" * 1000))
    writer.execute("DELETE FROM photos")
    shutil.copytree(tmp_path / "alive", tmp_path / "dead")
    writer.execute("ROLLBACK")
    writer.close()
    assert (tmp_path / "dead" / ".nsp" / "manifest.sqlite-journal").stat().st_size > 0
    return tmp_path / "dead"


def test_looking_at_a_killed_runs_manifest_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dead = killed_in_a_transaction(tmp_path)
    before = contents(dead)
    assert main(["status", str(dead)]) == 0
    assert "1 done" in capsys.readouterr().out
    assert contents(dead) == before


def test_the_next_run_mends_a_killed_runs_manifest(tmp_path: Path) -> None:
    dead = killed_in_a_transaction(tmp_path)
    with Manifest.open(dead) as manifest:
        assert [row.output for row in manifest.published_photos()] == ["a.jpg"]
    assert [path.name for path in (dead / ".nsp").iterdir()] == ["manifest.sqlite"]


def made_by_an_older_nsp(tmp_path: Path) -> Path:
    """A manifest of the first schema, with one photo."""
    with Manifest.open(tmp_path / "old") as manifest:
        manifest.published(Row("a.jpg", "/in/a.jpg", Status.DONE))
    connection = sqlite3.connect(tmp_path / "old" / ".nsp" / "manifest.sqlite")
    for table in ("photos", "publishing", "unmade"):
        for column in ("fallback", "damaged", "lost", "noise_known", "brightened"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    for column in ("total", "unchecked", "wanted"):
        connection.execute(f"ALTER TABLE runs DROP COLUMN {column}")
    connection.execute("DROP TABLE deaths")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    return tmp_path / "old"


def test_a_manifest_of_an_older_nsp_is_read_as_it_is_and_updated_by_the_next_run(tmp_path: Path) -> None:
    old = made_by_an_older_nsp(tmp_path)
    before = contents(old)
    with read_manifest(old) as manifest:
        assert manifest is not None
        assert [row.output for row in manifest.published_photos()] == ["a.jpg"]
    assert contents(old) == before
    with Manifest.open(old) as manifest:
        manifest.published(Row("b.jpg", "/in/b.jpg", Status.DONE, made=Provenance(fallback="slow")))
        made = [(row.output, row.made.fallback) for row in manifest.published_photos()]
        assert made == [("a.jpg", None), ("b.jpg", "slow")]


@pytest.mark.parametrize("version", [0, -1])
def test_a_manifest_of_no_version_is_called_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], version: int
) -> None:
    with Manifest.open(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / ".nsp" / "manifest.sqlite")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(OutputError, match=f"the manifest is damaged .it says that it is of version {version}"):
        Manifest.open(tmp_path)
    assert main(["status", str(tmp_path)]) == 4
    assert "the manifest is damaged" in capsys.readouterr().err


def test_a_manifest_that_lacks_a_table_is_called_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Manifest.open(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / ".nsp" / "manifest.sqlite")
    connection.execute("DROP TABLE photos")
    connection.close()
    assert main(["status", str(tmp_path)]) == 4
    assert "the manifest is damaged (no such table: photos)" in capsys.readouterr().err


def test_a_manifest_that_another_program_holds_is_waited_for_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(database, "SILENT_SECONDS", 0.2)
    with Manifest.open(tmp_path) as manifest:
        manifest.published(Row("a.jpg", "/in/a.jpg", Status.DONE))
    holder = sqlite3.connect(tmp_path / ".nsp" / "manifest.sqlite", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(1.0, lambda: holder.execute("ROLLBACK"))
    release.start()
    said: list[str] = []
    with Manifest.open(tmp_path, said.append) as manifest:
        assert [row.output for row in manifest.published_photos()] == ["a.jpg"]
        holder.execute("BEGIN EXCLUSIVE")
        release = threading.Timer(1.0, lambda: holder.execute("ROLLBACK"))
        release.start()
        manifest.published(Row("b.jpg", "/in/b.jpg", Status.DONE))
    assert len(said) == 2
    assert all("manifest.sqlite: waiting for another program that holds the manifest" in line for line in said)
    monkeypatch.setattr(database, "BUSY_SECONDS", 1.0)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OutputError, match="another program has held the manifest for 1 seconds; close it"):
        Manifest.open(tmp_path)
    assert main(["status", str(tmp_path)]) == 4
    assert "waiting for another program" in capsys.readouterr().err
    holder.close()


def test_looking_where_nothing_is_finds_nothing(tmp_path: Path) -> None:
    with read_manifest(tmp_path / "nothere") as manifest:
        assert manifest is None
    (tmp_path / ".nsp").mkdir()
    (tmp_path / ".nsp" / "manifest.sqlite").touch()
    with read_manifest(tmp_path) as manifest:
        assert manifest is None
    with Manifest.open(tmp_path) as opened:
        assert opened.published_photos() == []
