"""Several processes train one network."""

import os
import socket
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]

TRAIN = """
import hashlib, os, sys
from pathlib import Path
from small_training import noisy_picture, small_settings, train_on
from nsp_pipeline.calibration.training.ranks import join_ranks
folder, port = Path(sys.argv[1]), sys.argv[2]
other = os.fork()
os.environ |= {"RANK": str(int(other == 0)), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
with join_ranks("cpu") as ranks:
    photos, kept = [noisy_picture(1), noisy_picture(2)], [noisy_picture(3)]
    trained = train_on(photos, kept, small_settings(steps=10, judge_every=20), folder=folder,
                       ranks=ranks, max_seconds=600)
    weights = b"".join(value.numpy().tobytes() for value in trained.network.state_dict().values())
    digest = hashlib.sha256(weights).hexdigest()
    (folder / f"rank-{ranks.rank}-of-{ranks.count}").write_text(f"{trained.steps} {digest}")
if other:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
"""
"""As `torchrun` would start them, but by a fork: PyTorch is imported once."""


def test_two_processes_end_with_the_same_network(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(TRAIN)
    folder = tmp_path / "log"
    folder.mkdir()
    paths = [str(Path(__file__).parent), str(TESTS), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command: list[str | Path] = [sys.executable, script, folder, str(port)]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)

    assert done.returncode == 0, done.stderr
    results = sorted(folder.glob("rank-*"))
    assert [path.name for path in results] == ["rank-0-of-2", "rank-1-of-2"]
    assert results[0].read_text() == results[1].read_text()
    assert results[0].read_text().startswith("10 ")
    assert len(list(folder.glob("held-out-*.png"))) == 1
