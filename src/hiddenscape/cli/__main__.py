"""``python -m hiddenscape.cli`` is ``hiddenscape``."""

from hiddenscape.cli import main

main()
