#!/usr/bin/env bash
# nbval: a notebook fails right after it was executed and saved, if it clears or updates an output.
#
# Guess before running: a notebook that nbclient has just executed and saved passes nbval, whatever it displays.
# Seen: clear_output (with and without wait) and the update of a display handle fail. Jupyter keeps the last
# state of an output; nbval leaves those messages out ("unhandled iopub msg") and compares everything that was
# ever shown with it. So progress displays and redrawn plots in a guide look like changed results. Write the
# cell so that each text is shown once, or mark it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    nbval==0.11.0 nbclient==0.11.0 nbformat==5.11.1 ipykernel==7.4.0 pytest==9.2.0
export PATH="$folder/venv/bin:$PATH" IPYTHONDIR="$folder/ipython" JUPYTER_CONFIG_DIR="$folder/config" JUPYTER_DATA_DIR="$folder/data"
cd "$folder"
python - <<'PYTHON'
import importlib.metadata
import re
import subprocess
import sys

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

CELLS = {
    "plain": "for step in range(3):\n    print('step', step)",
    "clear": "from IPython.display import clear_output\nprint('loading')\nclear_output()\nprint('done')",
    "clear_wait": "from IPython.display import clear_output\nfor step in range(3):\n    clear_output(wait=True)\n"
    "    print('step', step)",
    "update": "from IPython.display import HTML, display\nshown = display(HTML('loading'), display_id=True)\n"
    "shown.update(HTML('done'))",
}
notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS.values()])
NotebookClient(notebook, kernel_name="python3").execute()
nbformat.write(notebook, "shown.ipynb")
command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-rA", "-p", "no:cacheprovider", "--color=no"]
report = subprocess.run([*command, "shown.ipynb"], capture_output=True, text=True).stdout
outcomes = re.findall(r"^(PASSED|FAILED) shown\.ipynb::Cell (\d+)", report, re.MULTILINE)
seen = {list(CELLS)[int(cell)]: outcome for outcome, cell in outcomes}
print("nbval", importlib.metadata.version("nbval"), dict(sorted(seen.items())))
sys.exit(seen != {"plain": "PASSED", "clear": "FAILED", "clear_wait": "FAILED", "update": "FAILED"})
PYTHON
