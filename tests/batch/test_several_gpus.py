"""`--device cuda:0,1`: a real process for each of two GPUs that are not there; the engines are fakes."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from batch_runs import hashes, save_photo, start, strays
from fake_engine import DEADLY_LEVEL
from PIL import Image
from run_nsp import finish

from nsp_pipeline.batch.folder import plan_folder
from nsp_pipeline.engines import cuda_driver
from nsp_pipeline.engines.cuda_driver import CudaDriver
from nsp_pipeline.errors import UsageError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for number in range(8):
        save_photo(tmp_path / "in" / f"{number}.png", number)
    return tmp_path / "in"


def test_each_gpu_has_a_process_and_a_photo_that_kills_its_worker_twice_has_failed(
    archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    Image.fromarray(np.full((20, 20, 3), DEADLY_LEVEL, np.uint8)).save(archive / "1.png")
    ended = finish(start("denoise", archive, out, "--device", "cuda:0,1", "--json", NSP_FAKE_SECONDS="0.2"))
    assert ended.code == 1, ended.err
    document = json.loads(ended.out)
    made = [photo for photo in document["photos"] if photo["outcome"] == "done"]
    (failed,) = [photo for photo in document["photos"] if photo["outcome"] == "failed"]
    assert {photo["provider"] for photo in made} == {"cuda:0", "cuda:1"}
    assert (len(made), Path(failed["name"]).name) == (7, "1.png")
    assert "nsp died twice while working on this photo" in failed["reason"]
    assert set(hashes(out)) == {f"{number}.png" for number in range(8) if number != 1}
    assert not strays(out)
    again = finish(start("denoise", archive, out, "--device", "cuda:0", "--json"))
    assert json.loads(again.out)["summary"]["skipped"] == 7, "one GPU goes on where two were"


def test_an_interrupt_ends_all_processes_and_a_killed_run_blames_no_photo(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (signal.SIGINT, signal.SIGKILL):
        process = start("denoise", archive, out, "--device", "cuda:0,1", NSP_FAKE_SECONDS="0.6")
        end, before = time.monotonic() + 60, len(hashes(out))
        while len(hashes(out)) == before and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(number)
        ended = finish(process)
        assert ended.code == (130 if number == signal.SIGINT else -number), ended.err
        assert len(hashes(out)) < 8
    last = finish(start("denoise", archive, out, "--device", "cuda:1"))
    assert (last.code, "was in work when" in last.err) == (0, False), last.err
    assert len(hashes(out)) == 8
    assert not strays(out)


def test_all_are_those_that_the_driver_lists(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "find_driver", lambda: CudaDriver((13, 0), ("one", "two", "three")))
    settings = plan_folder([archive], tmp_path / "out", device="all").settings
    assert settings.devices == ("cuda:0", "cuda:1", "cuda:2")
    assert plan_folder([archive], tmp_path / "out", device="cuda").settings.devices == ("cuda",)
    for wrong, words in (("cuda:0,0", "names a GPU twice"), ("cuda:0,", "is no device"), ("gpu", "is no device")):
        with pytest.raises(UsageError, match=words):
            plan_folder([archive], tmp_path / "out", device=wrong)
    with pytest.raises(UsageError, match="--cluster takes every GPU"):
        plan_folder([archive], tmp_path / "out", device="cuda:0,1", cluster="auto")


def test_a_gpu_that_is_not_there_is_named_and_nothing_is_made(archive: Path, tmp_path: Path) -> None:
    if cuda_driver.find_driver():
        pytest.skip("there is a GPU")
    ended = finish(start("denoise", archive, tmp_path / "out", "--device", "all"))
    assert (ended.code, "NVIDIA's driver is not installed" in ended.err) == (3, True), ended.err
    assert not os.path.lexists(tmp_path / "out")
