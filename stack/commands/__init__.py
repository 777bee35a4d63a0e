"""The commands of ``stampede``: one module for each group, with ``register(app)`` to add its commands.

``stack.cli`` finds the modules by itself. What is slow to import (the backend, the workers) is imported
inside the commands that need it: ``stampede ps`` answers at once.
"""
