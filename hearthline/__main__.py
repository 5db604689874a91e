"""`python -m hearthline` is the command `hearthline`."""

from hearthline.cli import main

if __name__ == "__main__":
    main()
