"""Entry point of the `dltool` script and of `python -m dltool`."""

import os
import signal
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    # OpenMP's threads spin while they wait for each other, which beside other busy processes was measured to make two
    # threads 20 times slower than sleeping ones; sleeping at once costs 40 % on a quiet machine. A short spin has the
    # good of both. It is read when torch is loaded, so it is set before.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Read when torch is loaded, too: on a Mac the CPU does the operations that MPS has not got.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # a file's name may hold bytes that the terminal's encoding has no letters for
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 (for as long as the process lives)
    try:
        from dltool.cli.app import app

        app(prog_name="dltool")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left that a second Ctrl-C could stop


if __name__ == "__main__":
    main()
