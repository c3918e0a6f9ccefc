"""The commands, one module each, by the section of the help that lists them."""
