"""Steps: forward, loss, backward, rules and update, alone or together with other ranks.

Which batches, how many epochs and which callbacks there are is not known here.
"""
