"""The command `show`: this host's sockets for people and for programs.

The only user of rich. Knows no spool but what the daemon remembers of ports, and no destination.
"""
