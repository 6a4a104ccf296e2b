"""The commands of ``python -m layerkit``, a file each."""
