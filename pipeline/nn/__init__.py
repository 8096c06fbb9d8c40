"""Layers, losses, optimizers, schedules, preprocessing, training: arrays in, arrays out."""
