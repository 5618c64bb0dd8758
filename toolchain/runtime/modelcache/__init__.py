"""The model cache: models as onnxruntime has optimised them, kept for the next process."""
