"""Functions from methods to methods, one idea a file.

Each takes a method of one of the kinds of `mtl_jax.weighting.base` and returns one.
What comes out keeps the contract of `base` if what goes in does: it is a `NamedTuple`
of pure functions, its state is a `NamedTuple` of arrays that holds the state of what
it wraps, and it may be wrapped again.
"""
