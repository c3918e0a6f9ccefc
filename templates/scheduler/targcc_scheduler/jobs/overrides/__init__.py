"""Options of a job that a person has changed while it is deployed, and the definition that comes of them."""
