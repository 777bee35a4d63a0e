"""Drills: the whole platform on real processes, under load, while something is killed, frozen, cut off or filled up.

``python -m tests.faults`` (``make faults``) runs them. ``entries`` holds the processes' entry modules with the points
at which a drill may end them; the product has none.
"""
