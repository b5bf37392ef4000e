"""Checks of lesson 09."""
