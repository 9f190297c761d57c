"""`python -m mtl_jax`, the same as `mtl-jax`."""

import sys

from mtl_jax.cli import main

sys.exit(main())
