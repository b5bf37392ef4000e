"""The library behind the course on learning from imbalanced data: one place to act per module."""

__version__ = "0.1.0"
