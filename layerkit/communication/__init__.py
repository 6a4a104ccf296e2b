"""Communication: what connects the processes of a job, and finds out that one is gone.

Knows nothing of layers, models or training.
"""
