"""Entry point of the `dltool` script and of `python -m dltool`."""

import os


def main() -> None:
    """Run the command line and leave with its exit code."""
    # OpenMP's threads spin while they wait for each other, which beside other busy processes was measured to make
    # two threads 20 times slower than sleeping ones. It is read when torch is loaded, so it is set before.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from dltool.cli.app import app

    app(prog_name="dltool")


if __name__ == "__main__":
    main()
