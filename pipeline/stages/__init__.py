"""One thin module per DVC stage: read, call, write; train/ its resume state and workers; shared/."""
