"""What several commands use: the terminal, trained models and their data."""
