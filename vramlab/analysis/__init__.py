"""Figures, bounds, intervals and plots: reads results and traces, and knows no driver."""
