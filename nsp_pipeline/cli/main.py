"""`nsp`: the group of commands, each imported only when it is used, and the way errors reach the user."""

import errno
import gc
import importlib
import importlib.util
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import click

from nsp_pipeline import __version__
from nsp_pipeline.cli.shared.helpful import HelpfulGroup
from nsp_pipeline.cli.shared.standard_output import drop_standard_output
from nsp_pipeline.cli.shared.verbosity import with_verbosity
from nsp_pipeline.errors import ExitCode, NspError
from nsp_pipeline.machine.cpus import default_threads, limit_libraries


@dataclass(frozen=True)
class LazyCommand:
    """A module that has a click command named `command`, and its line in `nsp --help`."""

    module: str
    summary: str


COMMANDS = {
    "preview": LazyCommand("nsp_pipeline.cli.preview", "See a photo denoised in several ways, and choose."),
    "denoise": LazyCommand("nsp_pipeline.cli.denoise", "Remove the noise from photos: files or whole folders."),
    "status": LazyCommand("nsp_pipeline.cli.status", "Show how far a run is, and what failed."),
    "report": LazyCommand("nsp_pipeline.cli.report", "Write a page with before and after of what was done."),
    "verify": LazyCommand("nsp_pipeline.cli.verify", "Check finished photos against their originals' metadata."),
    "scan": LazyCommand("nsp_pipeline.cli.scan", "List the cameras and ISO in an archive, and their noise."),
    "calibrate": LazyCommand("nsp_pipeline.cli.calibrate.command", "Make a profile of a camera from its noisy photos."),
    "distill": LazyCommand("nsp_pipeline.cli.distill", "Teach a small, fast network what a profile knows."),
    "export": LazyCommand("nsp_pipeline.cli.export.command", "Write a profile's network as a file for other programs."),
    "profiles": LazyCommand("nsp_pipeline.cli.profiles.command", "List, show, check, import and move profiles."),
    "evaluate": LazyCommand("nsp_pipeline.cli.evaluate.command", "Score a profile on pairs of noisy and clean photos."),
    "bench": LazyCommand("nsp_pipeline.cli.bench", "Measure how fast this machine denoises."),
    "doctor": LazyCommand("nsp_pipeline.cli.doctor.command", "Check this installation, and show what is missing."),
}


EXAMPLES = (
    "nsp preview photo.jpg --out page.html    choose how much to remove",
    "nsp denoise photos clean                 clean a folder",
    "nsp report clean --out report.html       look at what was done",
)


class LazyGroup(HelpfulGroup):
    """A group whose help needs no command's module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands that this installation has, in the order of the table."""
        return [name for name, command in COMMANDS.items() if importlib.util.find_spec(command.module)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one command."""
        if name not in self.list_commands(ctx):
            return None
        with _collecting_no_garbage():
            command = importlib.import_module(COMMANDS[name].module).command
        assert isinstance(command, click.Command)
        return with_verbosity(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].summary) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, examples=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nsp", message="%(prog)s %(version)s")
def nsp() -> None:
    """Clean folders of noisy photos with a denoiser fitted to their camera."""


def main(args: Sequence[str] | None = None, given: object = None) -> int:
    """Run a command; returns the exit code of errors.ExitCode. A bug of ours keeps its traceback.

    Args:
        given: what the command takes in the place of what is installed: for `denoise`, batch.sources.Sources.
    """
    limit_libraries(default_threads())
    # To look for plugins of pydantic, of which nothing here needs any, every installed package would be read.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # odd names of files, and terminals that know few letters
            stream.reconfigure(errors="backslashreplace")
    return run_command(nsp, args, given)


def run_command(command: click.Command, args: Sequence[str] | None = None, given: object = None) -> int:
    """Run a command of click's, and tell the user of errors as `main` does; returns the exit code."""
    try:
        name = "nsp" if command is nsp else None  # None: as click finds it, "python -m nsp_pipeline.cli.estimator"
        code = command.main(args=args, prog_name=name, standalone_mode=False, obj=given)
        return code if isinstance(code, int) else ExitCode.OK
    except NspError as error:
        return _complain(str(error), error.exit_code)
    except click.UsageError as error:
        if os.environ.get("RANK", "0") == "0" or "WORLD_SIZE" not in os.environ:  # torchrun starts many, given the same
            error.show()
        return ExitCode.USAGE
    except click.ClickException as error:
        return _complain(error.format_message(), ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted", ExitCode.INTERRUPTED)
    except MemoryError:
        return _complain("not enough memory; close other programs, or lower --memory or --tile", ExitCode.ENVIRONMENT)
    except BrokenPipeError:
        # The reader of our output has gone (`nsp ... | head`). Python must not complain about it while it shuts down.
        drop_standard_output()
        return ExitCode.SOME_FAILED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        return _complain(f"{error.filename or 'the disk'}: cannot be written: {error.strerror}", ExitCode.OUTPUT)


@contextmanager
def _collecting_no_garbage() -> Iterator[None]:
    """While modules are imported: what they make stays, and looking through it over and over takes a tenth of that."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _complain(message: str, code: int) -> int:
    with suppress(OSError):  # where nobody listens any more, the exit code must do
        click.echo(f"nsp: {message}", err=True)
    return code
