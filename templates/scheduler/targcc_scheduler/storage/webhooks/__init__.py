"""Webhooks, and the messages to them: made where runs that ended are taken note of, kept until they are delivered or given up."""
