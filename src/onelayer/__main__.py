"""The entry point of `onelayer` and `python -m onelayer`."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the current folder: a random.py there must not replace Python's


def main() -> None:
    """Run the command line of this process and exit with its status."""
    try:
        from onelayer.process import run_process

        sys.exit(run_process(_run))
    except KeyboardInterrupt:  # before the first line of run_process
        sys.exit(130)


def _run() -> int:
    from onelayer.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    main()
