"""The version of the scheduler; the generator of the same release has the same."""

__version__ = "0.2.0"
