"""Schema, generic builder, search space, composition, messages."""
