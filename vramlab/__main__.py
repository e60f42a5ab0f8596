"""The command line as ``python -m vramlab``, for where its script is not on the path."""

from vramlab.cli import main

if __name__ == "__main__":
    main()
