"""The command line: one module per command, imported when it runs; shared/ has what several use."""
