"""Entry point of the `dltool` script and of `python -m dltool`."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    from dltool.cli.app import app

    app(prog_name="dltool")


if __name__ == "__main__":
    main()
