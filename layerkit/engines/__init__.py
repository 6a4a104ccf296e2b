"""Engines: how the epochs of a fit are computed, by NumPy or compiled.

In which order things happen around an epoch is the business of the training.
"""
