"""Training: what happens around the steps, and in which order.

How a step or an epoch is computed belongs to the steps and the engines.
"""
