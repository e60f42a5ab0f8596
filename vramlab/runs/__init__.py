"""What a run leaves behind: records, totals, journals, samples, folders; and its status while it goes on.

All files of a run are read and written here; the engine opens none. :mod:`.lockstep` compares a journal with
the engine's decisions.
"""
