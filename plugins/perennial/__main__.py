"""`python -m perennial`: the CLI."""

from perennial.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
