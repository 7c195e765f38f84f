"""`python -m lampion` is the command `lampion`."""

from lampion.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
