"""A life: start, tick, reload, stop. Puts all other folders together, and speaks to systemd.

The only user of APScheduler and of signals. Knows nothing of what a value means.
"""
