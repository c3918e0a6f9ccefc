"""The scheduler in an application of somebody else: one prefix, one lifespan, and the host's own login."""
