"""Where the files that lie beside a card are put."""

#: What begins like this in a repository is ours, and goes when the card no longer has it.
ASSETS = "assets/card-"
