"""Answers that go on while things happen: streams of events, and requests that wait for a run."""
