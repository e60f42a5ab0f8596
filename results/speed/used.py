"""Runs a command and writes down what it used: python used.py FILE COMMAND...

A process begins with the peak memory of the one that started it, so it is started from here, where little is
imported. What it waited for counts as its own: the processes of a sweep, say.
"""

import json
import os
import sys
import time

begin = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
wall_s = time.perf_counter() - begin
unit = 2**20 if sys.platform == "darwin" else 2**10
used = {"cpu_s": usage.ru_utime + usage.ru_stime, "wall_s": wall_s, "peak_mb": usage.ru_maxrss / unit}
with open(sys.argv[1], "w") as file:
    json.dump(used, file)
sys.exit(os.waitstatus_to_exitcode(status))
