"""The `noisefind` command: the same program as the one that `cargo install` builds."""

import sys


def main() -> None:
    """Runs the command line in `sys.argv` and ends the process with its exit code."""
    from . import _noisefind

    sys.exit(_noisefind.main(["noisefind", *sys.argv[1:]]))
