"""`python -m glow_deploy`: the command line, the same as `glow-deploy`."""

import runpy

# By name, since nothing in this package may import the command line, which stands above it.
runpy.run_module("glow_cli", run_name="__main__")
