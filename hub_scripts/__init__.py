"""Finished folder + card -> Hub.

The only folder that talks to the network, and only when told to (``--yes``): everything else here is a dry run.
"""
