"""The commands of ``python -m layerkit``, one file for each."""
