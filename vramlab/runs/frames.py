"""Records as tables, for pandas and for Parquet files."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vramlab.engine.outcomes import EvictionRecord, LoadRecord, Outcome
from vramlab.runs.records import Records


def frames(records: Records) -> dict[str, pd.DataFrame]:
    """One table each of ``requests``, ``loads`` and ``evictions``; times in seconds, sizes in bytes."""
    return {
        "requests": requests_frame(records),
        "loads": pd.DataFrame(records.loads, columns=list(LoadRecord._fields)),
        "evictions": pd.DataFrame(records.evictions, columns=list(EvictionRecord._fields)),
    }


def requests_frame(records: Records) -> pd.DataFrame:
    """One row per request; the outcome of one that has not ended is missing."""
    outcomes = np.where(np.isnan(records.finish_s), -1, records.outcomes.astype(np.int8))
    return pd.DataFrame(
        {
            "arrival_s": records.arrival_s,
            "model": pd.Categorical.from_codes(records.model_codes, pd.Index(records.model_names)),
            "outcome": pd.Categorical.from_codes(
                outcomes, pd.Index([outcome.name.lower() for outcome in Outcome])
            ),
            "latency_s": records.latency_s,
        }
    )
