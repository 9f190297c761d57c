"""Small convex problems on `[T]` and `[T, T]` arrays, solved inside the program."""
