"""Sweeps: one training for each combination of settings, over processes.

Many fits of one model that differ in seed and learning rate alone are replicas.
"""
