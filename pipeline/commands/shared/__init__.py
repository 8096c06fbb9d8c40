"""What several commands use: the terminal, pictures from outside, trained models and their data."""
