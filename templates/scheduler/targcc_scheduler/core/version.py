"""The version of the scheduler; the generator of the same release has the same."""

__version__ = "0.2.0"
DISTRIBUTION = "targcc-scheduler"
"""What the package is called on an index; a copy of the scheduler is known by this name here."""
MODE = "package" if __name__.partition(".")[0] == "targcc_scheduler" else "vendored"
"""How the project has the scheduler: ``package``, the installed distribution, or ``vendored``, a copy in the project's source."""
