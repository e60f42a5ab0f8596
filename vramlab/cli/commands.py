"""The commands: where each is, and the line that lists it.

A list of them is all that ``vramlab --help`` shows, and one of them is all that a call runs. So their modules
are read only when one of their commands is asked for.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """The module below ``vramlab.cli`` that registers a command, and the first sentence of its help."""

    module: str
    about: str


COMMANDS: dict[str, Command] = {
    "replay": Command(
        "replaying", "Replay a trace through the allocator and show what became of the requests."
    ),
    "bound": Command(
        "replaying",
        "Bound the load cost from below: the least total load time that any schedule could have had.",
    ),
    "compare": Command(
        "comparing",
        "Replay traces under eviction policies, orders, configurations, "
        "sizes of the card, or as other servers.",
    ),
    "advise": Command("advising", "Advise on the card and the settings for a trace, on one page."),
    "sweep": Command("studies", "Replay once per combination of settings, policies, traces and seeds."),
    "tune": Command("tuning", "Search settings on the first part of a trace and judge them on the rest."),
    "stand-ins": Command("profiling", "Build ONNX stand-ins of the sizes that an inventory names."),
    "profile": Command(
        "profiling", "Measure what models take to load, to run and to hold, and write it as an inventory."
    ),
    "record": Command("live", "Play a trace against live sessions and keep everything that happens."),
    "verify": Command(
        "live", "Replay a live journal in lock-step, then simulate the run and show live beside simulated."
    ),
    "memory": Command(
        "memory", "Show where the models lay in their zones, and how broken up the free memory was."
    ),
    "generate": Command("traces", "Generate a synthetic trace."),
    "describe": Command(
        "traces", "Say what a trace is like: rates, bursts, popularity, reuse, working set, daily cycle."
    ),
    "import": Command("importing", "Import somebody's trace; says what was read, what was dropped, and why."),
    "inventory": Command(
        "inventory",
        "Make the inventory of a trace's models from what there is, and say what was estimated or assumed.",
    ),
    "curve": Command(
        "curves", "Show hit rate and load cost of a policy by memory size, in a plain memory without queues."
    ),
    "demo": Command("demo", "Record live, verify, simulate, compare: the main job in about a minute."),
    "fidelity": Command(
        "fidelity",
        "Record workloads and alternatives live, predict them from one recording each, "
        "show how far that is off.",
    ),
    "monitor": Command(
        "monitor",
        "Watch a device: its memory, zones, and models with state, score, "
        "last use and counts. Ctrl+C ends it.",
    ),
    "journal-trace": Command(
        "journals", "Write the requests of a journal as a trace, also where the recording was killed."
    ),
    "notebooks": Command(
        "notebooks",
        "Copy the notebooks, the guides, and the configurations and traces that they read, ready to run.",
    ),
    "policies": Command(
        "pages",
        "List eviction policies, orders of serving and predictors, one line each, with their sources.",
    ),
    "settings": Command(
        "pages",
        "List the settings, with default and effect: keys below vram_management, and those of a model.",
    ),
    "keep-alive": Command(
        "questions",
        "Which keep_alive? Load time against memory held, for one time-out for all models, and one of each.",
    ),
    "explain": Command(
        "questions",
        "Why was it evicted? For whom, among which rivals and by which score, and what that cost later.",
    ),
    "export": Command(
        "exporting", "Write settings for the server that you have, or a trace for another tool."
    ),
    "pin-cost": Command(
        "changes",
        "What does this pin cost? Load time and delay with a model pinned, "
        "less without, per model and priority.",
    ),
    "hardware": Command(
        "changes",
        "Would a bigger card help, or a faster disk? Seconds of waiting per GB, and per GB/s of loading.",
    ),
    "whatif": Command(
        "whatif",
        "I recorded this under A: what would B have been? Predicted from the one recording, with intervals.",
    ),
}
