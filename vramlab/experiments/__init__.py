"""Studies: replay, compare, sweep, tune, record and verify; in one process, on all cores or on a cluster."""
