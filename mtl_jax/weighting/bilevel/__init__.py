"""Methods that learn the task weights from validation losses, one paper a file."""
