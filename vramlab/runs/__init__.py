"""What a run leaves behind: records, totals, journals, samples, folders; and what one looks like under way.

All reading and writing of a run's files is here; the engine opens none. :mod:`.lockstep` holds a journal
to the engine's decisions.
"""
