"""What the tests of photos share: exiftool, the judge of metadata, where it is installed."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from judges import Listed

WARNING = "ExifTool:Warning"
OF_THE_FILE = ("SourceFile", "System:", "File:", "Composite:", "ExifTool:")


@pytest.fixture(scope="session")
def exiftool() -> Listed:
    """List all that exiftool finds in a file, apart from what the file system and storage say, and its warnings."""
    program = shutil.which("exiftool")
    if program is None:
        pytest.skip("exiftool is not installed")

    def listed(*paths: Path) -> list[dict[str, object]]:
        command = [program, "-a", "-G1", "-s", "-n", "-struct", "-j", *map(str, paths)]
        files = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
        assert len(files) == len(paths)
        return [
            {name: value for name, value in tags.items() if not name.startswith(OF_THE_FILE) or name == WARNING}
            for tags in files
        ]

    return listed
