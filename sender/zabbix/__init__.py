"""The trapper's wire: packets, connections, TLS; one destination, one chunk, one `Outcome`.

Knows nothing of queues, of retries, or of what the values mean.
"""
