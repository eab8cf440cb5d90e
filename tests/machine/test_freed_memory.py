"""Memory that was freed: kept by glibc for what comes next, in the main thread and in others."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, threading
import numpy as np
from nsp_pipeline.machine.freed_memory import keep_freed_memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        blocks = [np.full(1 << 17, number, np.float32) for number in range(8)]
        del blocks
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

if "keep" in sys.argv:
    keep_freed_memory()
pages()
thread = threading.Thread(target=pages)
thread.start()
thread.join()
"""
PAGES_OF_A_ROUND = 8 * (1 << 19) // 4096


def pages_got(*arguments: str) -> list[int]:
    """Pages got from the system for a hundred times the same blocks, in the main thread and in another."""
    ended = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    return [int(line) for line in ended.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this system has another C library")
def test_blocks_of_one_size_find_their_memory_where_it_was() -> None:
    assert all(pages < 3 * PAGES_OF_A_ROUND for pages in pages_got("keep"))
