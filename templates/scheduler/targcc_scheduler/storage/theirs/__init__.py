"""Connections of an application: what is written on them commits with it."""
