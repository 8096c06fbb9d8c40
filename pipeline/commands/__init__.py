"""The command line: one module per command; shared/ what several use."""
