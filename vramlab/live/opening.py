"""How onnxruntime opens a checked file: with which options, where its nodes come to run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import onnxruntime

from vramlab.config.schema import ModelSpec, SessionSettings
from vramlab.live.errors import SessionError
from vramlab.live.model_files import ModelFile

_LEVELS = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class Made(NamedTuple):
    """A session of onnxruntime's, how to make it once more, and whether lengths of 0 are refused.

    They are where a recurrent operator would end the whole process on one.
    """

    session: onnxruntime.InferenceSession
    again: Callable[[], onnxruntime.InferenceSession]
    refuses_empty: bool = False


def opened(
    file: ModelFile, options: onnxruntime.SessionOptions, providers: Any
) -> onnxruntime.InferenceSession:
    """Make a session; one that would run elsewhere than on the first provider is an error."""
    # Without enable_fallback=0 a session that CUDA has no room for would quietly be made on the CPU.
    session = onnxruntime.InferenceSession(str(file.path), options, providers=providers, enable_fallback=0)
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if wanted not in session.get_providers():
        name = file.path.name
        raise SessionError(f"loading {name}: {wanted} did not load, and the session would run elsewhere")
    return session


def session_options(
    file: ModelFile, spec: ModelSpec, threads: int, entries: dict[str, str], has_arena: bool = False
) -> onnxruntime.SessionOptions:
    """Return onnxruntime's options: its defaults, but for one thread per run, and what the inventory says.

    Without memory patterns where an arena has a limit: the second run of a shape would take a block as large
    as all activations beside those that the first has left, or fall back to these where that does not fit.
    """
    wanted: SessionSettings = spec.session_options
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = wanted.intra_op_num_threads or threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, and said once
    if options.intra_op_num_threads > 1:  # threads that spin after a run take the cores from other models
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if wanted.graph_optimization_level is not None:
        options.graph_optimization_level = _LEVELS[wanted.graph_optimization_level]
    if wanted.enable_mem_pattern is not None or has_arena:
        options.enable_mem_pattern = bool(wanted.enable_mem_pattern)
    if wanted.enable_cpu_mem_arena is not None:
        options.enable_cpu_mem_arena = wanted.enable_cpu_mem_arena
    if not wanted.prepacking:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if file.is_ort_format:
        options.add_session_config_entry("session.load_model_format", "ORT")
    for key, value in (entries | wanted.config).items():
        options.add_session_config_entry(key, value)
    for library in spec.custom_ops:
        options.register_custom_ops_library(library)
    return options


def nodes_elsewhere(session: onnxruntime.InferenceSession) -> list[str] | None:
    """Return the operators of the nodes that the first provider did not take; None where it is not known."""
    wanted = session.get_providers()[0]
    try:
        placed = session.get_provider_graph_assignment_info()
    except Exception:  # it was not recorded, which onnxruntime says in many classes
        return None
    return [node.op_type for part in placed if part.ep_name != wanted for node in part.get_nodes()]
