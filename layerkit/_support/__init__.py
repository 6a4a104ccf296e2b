"""What every room uses: checks of arguments, state, reprs, signatures and numerics.

Knows no layer, model or training; nothing here is for users to import.
"""
