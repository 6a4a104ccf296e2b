"""Communication between the processes of a job, and the detection of lost processes.

Nothing here depends on layers, models or training.
"""
