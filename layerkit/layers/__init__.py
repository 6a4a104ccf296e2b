"""Layers: one file a family.

A layer knows its own parameters and passes; models, losses and training are none of its business.
"""
