"""Imports in people's files follow the scheduler: what moved in it is imported from `<package>.scheduler`, or from where it is now."""
