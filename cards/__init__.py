"""Manifests -> README.md.

``finished folder -> chain of manifests -> metadata + words -> card``. In: the folder of a stage. Out: the text of a Hub
card whose every number stands in a manifest. Needs neither torch nor a network.
"""
