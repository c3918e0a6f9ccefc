#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""Docs."""
from __future__ import annotations
from acme.scheduler.app import scheduler_router
import sys; import fastapi; app = fastapi.FastAPI()
app.include_router(scheduler_router)
