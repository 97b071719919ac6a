"""`python -m autohedge` is the command line."""

from autohedge.cli.main import main

main()
