"""Training over several processes: what connects them."""
