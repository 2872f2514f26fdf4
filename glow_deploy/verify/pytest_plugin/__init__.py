"""A pytest plugin: `pytest --glow-bundle BUNDLE` runs the verification of a bundle as one test per figure.

pytest imports `plugin` in every session of an environment that has this package, so that module imports nothing but
pytest. All others are imported once a bundle is named.
"""
