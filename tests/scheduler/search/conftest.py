"""No fixtures: the search tests call functions alone."""
