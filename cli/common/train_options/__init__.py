"""The options of `glow-deploy train`: a file for each group, with the option's spelling and the group's values.

Typer reads options from the signature of a command, one parameter each. A file here holds the type of each parameter,
with spelling and help, and a frozen dataclass of the group's values, which is what the rest of the code sees.
"""
