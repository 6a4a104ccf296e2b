"""The commands of ``python -m layerkit``, one file for each.

What a command does, a program can do too: only options, printing and exit statuses belong here.
"""
