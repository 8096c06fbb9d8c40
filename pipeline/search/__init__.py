"""What to try (strategies, space, trials) and engines/ where it runs."""
