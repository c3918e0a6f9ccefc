"""What whoever asks may see, where that is not everything."""
