#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""Docs."""
from __future__ import annotations
import sys; import fastapi; app = fastapi.FastAPI()
