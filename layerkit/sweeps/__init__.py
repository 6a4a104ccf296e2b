"""Sweeps: one training for each combination of settings, in parallel processes.

Fits of one model that differ only in seed and learning rate are for `layerkit.replicas`.
"""
