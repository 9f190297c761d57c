"""Methods that look at the losses alone, one paper a file."""
