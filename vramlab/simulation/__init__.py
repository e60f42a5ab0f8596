"""Simulated runs: the engine on SimPy's clock, service times and fault plans; and the allocator alone."""
