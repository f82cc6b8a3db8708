"""``python -m cellglass`` is the command ``cellglass``."""

from cellglass.cli.app import main

if __name__ == "__main__":
    main()
