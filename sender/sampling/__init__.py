"""Policy of a sample: when it is taken, and what it reports.

Knows no netlink, no spool and no network: the kernel and the publisher are functions that it is given.
"""
