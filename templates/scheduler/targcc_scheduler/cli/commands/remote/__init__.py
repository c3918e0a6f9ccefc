"""Commands about where commands are carried out."""
