"""Publishers whose files are a table, JSON or log with one row per request: what is where in each.

A recipe is options that the publisher's files always want. ``columns`` of a role may be several names, of
which the first that is there counts; a role of `optional` may have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vramlab.traces.importers.options import TimeUnit

Names = str | tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """How a publisher's files are read.

    Parameters
    ----------
    what : str
        What they are, for people.
    columns, optional : mapping of str to str or tuple of str
        Role to column.
    time_unit : str, optional
        Of times that are numbers.
    where : tuple of str
        Rows that are requests.
    model_name : str, optional
        Of a source that tells of one model; ``--model-name`` names it otherwise.
    regex : str, optional
        Of a text log.
    unnamed : bool
        Whether rows without a model are dropped, and not malformed.
    table : str, optional
        Of an SQLite file.
    private : bool
        Whether requesters are people, whose names are not kept.
    note : str
        What a reader of the trace has to know.
    blind : tuple of (str, str)
        Patterns of lines that cannot tell what is needed, and what would.
    signs : tuple of str
        Columns by which such a file is known; none: those of `columns` with one name.
    """

    what: str
    columns: Mapping[str, Names]
    optional: Mapping[str, Names] = field(default_factory=dict)
    time_unit: TimeUnit | None = None
    where: tuple[str, ...] = ()
    model_name: str | None = None
    regex: str | None = None
    unnamed: bool = False
    table: str | None = None
    private: bool = False
    note: str = ""
    blind: tuple[tuple[str, str], ...] = ()
    signs: tuple[str, ...] = ()


_SPANS = "resourceSpans.scopeSpans.spans"

RECIPES: dict[str, Recipe] = {
    "aiperf": Recipe(
        "AIPerf's profile_export.jsonl",
        {"time": ("metadata.request_start_ns", "metadata.timestamp_ns")},
        {"requester": "metadata.x_correlation_id"},
        time_unit="ns",
        model_name="model",
        signs=("metadata.timestamp_ns",),
    ),
    "azure-llm": Recipe(
        "Azure LLM inference traces of 2023 and 2024",
        {"time": "TIMESTAMP"},
        model_name="llm",
        signs=("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    ),
    "burstgpt": Recipe(
        "BurstGPT",
        {"time": "Timestamp", "model": "Model"},
        {"requester": "Session ID"},
        time_unit="s",
        signs=("Timestamp", "Model", "Log Type"),
    ),
    "jmeter": Recipe(
        "JMeter's results (JTL as CSV); a model is a sampler's label",
        {"time": "timeStamp", "model": "label"},
        {"requester": "threadName"},
        time_unit="ms",
        signs=("timeStamp", "elapsed", "label"),
    ),
    "k6": Recipe(
        "k6's --out csv; a model is a request's name",
        {"time": "timestamp", "model": "name"},
        where=("metric_name=http_reqs",),
        signs=("metric_name", "timestamp", "metric_value"),
    ),
    "litellm": Recipe(
        "LiteLLM's table LiteLLM_SpendLogs, less what its cache answered",
        {"time": "startTime", "model": "model"},
        {"requester": ("session_id", "end_user", "user"), "status": "status"},
        where=("cache_hit!=True", "cache_hit!=true", "cache_hit!=t", "cache_hit!=1"),
        private=True,
        signs=("startTime", "completionStartTime", "model", "cache_hit"),
    ),
    "llama-swap": Recipe(
        "llama-swap's /api/metrics/activity, which stamps the end",
        {"time": "timestamp", "model": "model", "duration": "duration_ms"},
        {"status": "resp_status_code"},
        table="activity",
        note="arrival = time stamp - duration, right to a second, as the stamps are whole ones",
        signs=("timestamp", "model", "req_path", "duration_ms"),
    ),
    "localai": Recipe(
        "LocalAI's table usage_records",
        {"time": "created_at", "model": ("served_model", "requested_model")},
        table="usage_records",
        signs=("created_at", "requested_model", "served_model"),
    ),
    "localai-traces": Recipe(
        "LocalAI's /api/traces, whose bodies name the model; nothing else of them is read",
        {"time": "timestamp", "model": "request.body.model"},
        {"status": "response.status"},
        unnamed=True,
        signs=("timestamp", "request.body.model"),
    ),
    "mooncake": Recipe(
        "Mooncake's JSON lines",
        {"time": "timestamp"},
        time_unit="ms",
        model_name="llm",
        signs=("timestamp", "input_length", "output_length", "hash_ids"),
    ),
    "nginx": Recipe(
        "an access log of nginx or Apache before KServe or Triton, whose paths name the model",
        {"time": "time", "model": "model"},
        {"status": "status"},
        regex=r"\[(?P<time>[^\]]+)\] \"[A-Z]+ \S*?/v[12]/models/(?P<model>[^/:\s]+)"
        r"(?:/versions/[^/\s]+)?(?:/infer|/generate\w*|:predict|:explain)[^\"]*\"(?: (?P<status>\d{3}))?",
        blind=(
            (
                r"/v1/(chat/completions|completions|embeddings|responses|audio|images)",
                "paths that name the model: OpenAI's routes do not, their bodies do; LiteLLM's spend logs, "
                "OpenTelemetry spans and llama-swap's activity tell models",
            ),
            (r"\"[A-Z]+ \S+ HTTP", "paths such as /v2/models/NAME/infer, or `vramlab import csv --regex`"),
        ),
    ),
    "otel": Recipe(
        "OpenTelemetry spans (OTLP as JSON) with gen_ai.request.model",
        {"time": f"{_SPANS}.startTimeUnixNano", "model": f"{_SPANS}.attributes.gen_ai.request.model"},
        time_unit="ns",
        unnamed=True,
        signs=(f"{_SPANS}.startTimeUnixNano",),
    ),
}

# Columns of the formats that have an importer of their own.
SIGNS: dict[str, tuple[tuple[str, ...], ...]] = {
    "azure-functions": (("app", "func", "end_timestamp", "duration"), ("HashApp", "HashFunction")),
    "genai-2026": (("gmt_create", "checkpoint_model_version_id"),),
    "huawei": (("day", "time", "0"), ("day", "time", "1")),
    "open-webui": (("chat_id", "role", "model_id", "created_at"),),
    "libcachesim-csv": (("obj_id",), ("object", "next_access_vtime")),
    "perf-analyzer": (("experiments.requests.timestamp",),),
    "triton": (("id", "timestamps.name", "timestamps.ns"), ("id", "model_name", "model_version")),
    **{name: (recipe.signs,) for name, recipe in RECIPES.items() if recipe.signs},
}


def publisher_of(columns: tuple[str, ...]) -> str | None:
    """Whose file it seems to be."""
    there = set(columns)
    return next((name for name, signs in SIGNS.items() if any(there >= set(one) for one in signs)), None)
