"""The domain of Stampede and its HTTP surfaces.

Layers, top to bottom: ``main``, ``app``, the three APIs, ``reconciliation``, the four services that
follow an order (``orders pages notifications payments``), ``sales``, ``accounts``, ``gate``, ``jobs``,
``models``, ``settings``, ``core``. A layer imports only what stands below it; import-linter holds that.
"""
