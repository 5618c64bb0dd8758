"""The version of rtl: pyproject.toml reads it from here. The file imports nothing."""

__version__ = "0.2.0"
