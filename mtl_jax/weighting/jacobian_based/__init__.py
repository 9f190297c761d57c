"""Methods that look at the task gradients themselves, one paper a file."""
