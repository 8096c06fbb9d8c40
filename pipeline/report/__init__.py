"""What is told of a run: metrics, comparison, published figures, plots/."""
