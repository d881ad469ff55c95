"""Hostile messages as files, what is to become of each, and those who judge it."""
