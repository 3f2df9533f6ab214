"""What a user types: one module or folder for each command; arguments, output, exit codes.

Knows every other folder; no other folder knows this one.
"""
