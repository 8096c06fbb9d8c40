"""The multilayer perceptron: pure numerics on NumPy arrays, one registry per choice."""
