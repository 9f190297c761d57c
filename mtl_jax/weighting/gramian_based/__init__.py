"""Methods that look at the Gramian of the task gradients, one paper a file."""
