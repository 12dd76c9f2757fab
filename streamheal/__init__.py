"""streamheal: video surveillance that heals faces."""

__version__ = "0.1.0"
