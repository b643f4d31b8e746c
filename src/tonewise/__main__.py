"""`python -m tonewise` is `tonewise`."""

from tonewise.cli import main

main()
