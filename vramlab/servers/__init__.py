"""Model servers of today as presets: a configuration and a few rules each, with their sources.

>>> from vramlab.servers import as_server
>>> settings, inventory = as_server("ollama:keep_alive=600", settings, inventory)
"""

from vramlab.servers.preset import Server, as_server, server_names, server_of

__all__ = ["Server", "as_server", "server_names", "server_of"]
