"""Where the program begins, as `tcp-status-sender` or as `python -m sender`: Ctrl-C is no traceback at any moment."""

import sys


def main() -> int:
    """Run the command line; the exit code, 130 when interrupted."""
    try:
        from sender import cli  # noqa: PLC0415  reading the libraries takes long enough to be interrupted, too

        return cli.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
