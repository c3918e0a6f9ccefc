"""What a person on call does: about failures by their cause, and to many runs at once."""
