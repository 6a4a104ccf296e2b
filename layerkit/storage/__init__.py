"""Storage: the contents of files, and how they are written and read.

Each object defines its own state; storage only writes it to a file.
"""
