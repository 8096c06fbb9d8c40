"""The commands that are not stages: one module each, whose heavy imports wait until it runs."""
