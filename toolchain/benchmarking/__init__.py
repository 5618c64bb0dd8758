"""How fast is a model file, beside which others, and how certain is the figure."""
