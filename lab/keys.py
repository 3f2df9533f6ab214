"""How many values a sample has: those of every sample, and those of a first one. Knows what the daemon sends."""

from __future__ import annotations

from sender.items import DISCOVERIES, KEYS, is_rare

STEADY = [key for key in KEYS if not is_rare(key)]
FIRST = len(KEYS) + len(DISCOVERIES)
