"""Fuzzing: what must hold of any bytes, and who thinks them up (Hypothesis every day, atheris by name)."""
