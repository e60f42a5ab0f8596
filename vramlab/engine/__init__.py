"""Serving, written once: the story of a request as a generator of effects, the queues, and the journal."""
