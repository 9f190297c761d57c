"""Experiments about the methods themselves: problems small enough to see everything."""
