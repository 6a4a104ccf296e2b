"""Tools shared by all folders: argument checks, state, reprs, signatures and numerics.

Nothing here depends on layers, models or training, and nothing is public.
"""
