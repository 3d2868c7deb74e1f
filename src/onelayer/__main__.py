"""Where `onelayer` and `python -m onelayer` begin."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported ends quietly, too."""
    try:
        from onelayer import cli
    except KeyboardInterrupt:
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
