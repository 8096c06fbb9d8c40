"""What several stages use: the runner, the parts of a data set, what train left."""
