"""Policy of a delivery: read, send, acknowledge, back off; rejected values, new ports, registration.

Knows no SQL and no packet: the spool and the way to send are given to it.
"""
