"""Models: layers put together, and the two vectors that hold their parameters.

A model can predict, be saved and be looked at; how it is trained stands elsewhere.
"""
