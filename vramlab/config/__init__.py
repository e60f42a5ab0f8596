"""Configuration: schema, reading and writing of the YAML files, and the one error for bad input."""
