"""Files that come with requests, and that go out."""
