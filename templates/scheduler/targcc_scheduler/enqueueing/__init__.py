"""Asking for runs: from async code, from plain code, and in the tests of an application, where it is only recorded."""
