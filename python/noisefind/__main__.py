"""`python -m noisefind`: the command line."""

from ._command import main

main()
