"""Simulated runs: the engine on simulated time, and the allocator alone.

:func:`.replaying.simulate` plays a trace. :class:`.server.Server` serves processes of a SimPy environment.
:func:`.decide.decide` drives the allocator without service times.
"""
