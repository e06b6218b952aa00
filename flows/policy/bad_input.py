"""What a person asked for cannot be meant."""


class BadInput(ValueError):
    """A parameter that makes no sense here. The message names it and says what would; nothing was done."""
