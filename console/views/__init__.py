"""The console's pages: widgets only. What they compute lives in the modules beside this package."""
