"""The command line: one module per command; shared/ what several use.

What takes long to import waits until a command runs, so that --help is quick.
"""
