"""The command line; every command's keys and exit status are promised to users' scripts."""

from vramlab.cli.app import main

__all__ = ["main"]
