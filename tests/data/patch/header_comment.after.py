#!/usr/bin/env python3
# Copyright somebody.

from acme.scheduler.app import scheduler_router
# The framework may be missing in the tools image.
try:
    import fastapi
except ImportError:
    fastapi = None

app = fastapi.FastAPI()
app.include_router(scheduler_router)
