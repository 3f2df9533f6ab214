"""The command `check`: the configuration, the kernel, the spool and every destination, tried and reported.

Knows how the daemon samples and sends. Changes nothing.
"""
