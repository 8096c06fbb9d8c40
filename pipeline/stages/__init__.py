"""One thin module per DVC stage: read, call, write; train/ with its resume state and workers; shared/."""
