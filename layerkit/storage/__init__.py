"""Storage: what a file holds, and how it is written and read.

What the state of an object is, the object itself knows.
"""
