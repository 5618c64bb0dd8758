"""`rtl adapt`: a model file fitted to the photographs of another camera, without torch."""
