"""Data: files, arrays, data sets and streams, checked and cut into batches.

What is done with a batch belongs to the steps and the engines.
"""
