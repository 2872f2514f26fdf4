"""`python -m glow_cli`."""

from .entry import run

if __name__ == "__main__":
    run()
