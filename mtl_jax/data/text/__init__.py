"""Text: readers of columns and vectors, vocabularies, tokens to integers."""
