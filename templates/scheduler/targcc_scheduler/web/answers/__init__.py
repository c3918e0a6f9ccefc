"""What all answers of the REST API share: chosen fields, versions."""
