"""Pools: workers that queues share."""
