#!/usr/bin/env python3
# Copyright somebody.

# The framework may be missing in the tools image.
try:
    import fastapi
except ImportError:
    fastapi = None

app = fastapi.FastAPI()
