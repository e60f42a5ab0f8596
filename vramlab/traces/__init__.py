"""Request traces: their schema, their files, importers of public traces and synthetic workloads."""
