"""`--watch`: real processes that follow a folder."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from batch_runs import hashes, save_photo, start, strays
from run_nsp import Finished, finish

from nsp_pipeline.batch.watch.stillness import Stillness


def test_a_file_stands_still_when_size_and_time_have_not_moved_for_a_while(tmp_path: Path) -> None:
    now = 0.0
    looks = Stillness(lambda: now, quiet=3)
    photo, empty = tmp_path / "a.jpg", tmp_path / "empty.jpg"
    photo.write_bytes(b"half")
    empty.write_bytes(b"")
    assert looks.look([photo, empty]) == ({}, [photo, empty])
    now = 2.9
    photo.write_bytes(b"the whole")
    assert looks.look([photo, empty])[1] == [photo, empty]
    now = 5.8
    assert looks.look([photo, empty])[1] == [photo, empty], "2.9 seconds since it moved"
    now = 6.0
    still, moving = looks.look([photo, empty, tmp_path / "gone.jpg"])
    assert (list(still), moving) == ([photo], [empty]), "an empty file is still to be written"
    os.utime(photo, (1, 1))
    assert looks.look([photo])[1] == [photo]


class Watch:
    """A watching process, and what it says."""

    def __init__(self, tmp_path: Path, *options: str) -> None:
        self.folder, self.out, self.log = tmp_path / "in", tmp_path / "out", tmp_path / "log"
        self.folder.mkdir(exist_ok=True)
        self.process: subprocess.Popen[str] = start(
            "denoise", self.folder, self.out, "--watch", "--log-json", self.log, *options
        )

    def said(self, words: str) -> bool:
        return self.log.exists() and words in self.log.read_text()

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert self.process.poll() is None, finish(self.process)
            assert time.monotonic() < end, (self.log.read_text() if self.log.exists() else "", hashes(self.out))
            time.sleep(0.05)

    def made(self, *names: str) -> Callable[[], bool]:
        return lambda: set(names) <= set(hashes(self.out))

    def end(self, number: signal.Signals = signal.SIGTERM) -> Finished:
        self.process.send_signal(number)
        return finish(self.process)


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[..., Watch]]:
    started: list[Watch] = []

    def watch(*options: str) -> Watch:
        started.append(Watch(tmp_path, *options))
        return started[-1]

    yield watch
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


def test_new_photos_are_made_when_they_are_whole_and_sigterm_ends_it_cleanly(
    watching: Callable[..., Watch], tmp_path: Path
) -> None:
    whole = save_photo(tmp_path / "aside" / "b.png", 2, size=(200, 150)).read_bytes()
    save_photo(tmp_path / "in" / "a.jpg", 1)
    watch = watching()
    watch.until(watch.made("a.jpg"))
    slow = watch.folder / "sub" / "b.png"
    slow.parent.mkdir()
    with slow.open("wb") as file:
        for part in range(8):
            file.write(whole[part * len(whole) // 8 : (part + 1) * len(whole) // 8])
            file.flush()
            time.sleep(0.7)
            assert hashes(watch.out).keys() == {"a.jpg"}, "what is being written is left alone"
    watch.until(lambda: watch.said(f"waiting until it is completely written: {slow}"))
    watch.until(watch.made("sub/b.png"))
    shutil.copy(tmp_path / "aside" / "b.png", watch.folder / "c.part")
    (watch.folder / "c.part").rename(watch.folder / "c.png")
    watch.until(watch.made("c.png"))
    ended = watch.end()
    assert ended.code == 0, ended.err
    assert "stopped watching: 3 done, 0 skipped, 0 failed" in ended.err
    assert not strays(watch.out)
    assert "3 skipped" in finish(start("denoise", watch.folder, watch.out)).err


def test_shares_that_vanish_are_waited_for_and_nothing_is_written_in_their_place(
    watching: Callable[..., Watch], tmp_path: Path
) -> None:
    save_photo(tmp_path / "in" / "a.png", 1)
    watch = watching()
    watch.until(watch.made("a.png"))
    made = (watch.out / "a.png").stat().st_ino
    watch.out.rename(tmp_path / "unplugged")
    watch.out.mkdir()  # the bare mount point
    save_photo(watch.folder / "b.png", 2)
    watch.until(lambda: watch.said("is the disk or share connected?"))
    time.sleep(3.5)
    assert not list(watch.out.iterdir()), "nothing goes to the mount point"
    watch.out.rmdir()
    (tmp_path / "unplugged").rename(watch.out)
    watch.until(watch.made("a.png", "b.png"))
    assert watch.said("the folders are there again")

    watch.folder.rename(tmp_path / "gone")
    watch.until(lambda: watch.said("there is no such file or folder"))
    (tmp_path / "gone").rename(watch.folder)
    save_photo(watch.folder / "c.png", 3)
    watch.until(watch.made("c.png"))
    assert (watch.out / "a.png").stat().st_ino == made, "it was not made twice"
    assert watch.end(signal.SIGINT).code == 0


def test_a_photo_that_failed_is_made_when_it_is_replaced(watching: Callable[..., Watch], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no photo at all")
    watch = watching()
    watch.until(lambda: watch.said('"outcome": "failed"'))
    time.sleep(1.5)
    assert watch.log.read_text().count('"outcome": "failed"') == 1, "it is not tried again and again"
    save_photo(watch.folder / "a.png", 1)
    watch.until(watch.made("a.png"))
    assert watch.end().code == 0


@pytest.mark.parametrize("option", ["--dry-run", "--json"])
def test_options_that_need_an_end_do_not_go_with_watching(option: str, tmp_path: Path) -> None:
    save_photo(tmp_path / "in" / "a.png")
    ended = finish(start("denoise", tmp_path / "in", tmp_path / "out", "--watch", option))
    assert ended.code == 2
    assert f"--watch does not go with {option}" in ended.err
