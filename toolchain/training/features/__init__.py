"""Features: outputs of the frozen layers, computed once and cached on disk."""
