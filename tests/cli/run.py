"""Running the command line as a user does."""

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from dltool.cli.app import app
from dltool.outputs import MARKER


def run_inside(*words: object) -> Result:
    """Run a command in this process, which has torch loaded already."""
    return CliRunner().invoke(app, [str(word) for word in words])


def run_process(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own and wait for it."""
    return subprocess.run(process_words(*words), capture_output=True, text=True, timeout=120, **options)


def start_process(*words: object, **options: object) -> subprocess.Popen[str]:
    """Start a command as a process of its own."""
    return subprocess.Popen(
        process_words(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        **options,
    )


def process_words(*words: object) -> list[str]:
    """The words of a command line that runs this checkout's dltool."""
    return [sys.executable, "-m", "dltool", *(str(word) for word in words)]


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, without the list of what dltool wrote there."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MARKER]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
