"""Three versions of one text made into one: what the generator wrote, what the person made of it, what the generator writes now."""
