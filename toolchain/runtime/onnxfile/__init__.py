"""Checks of an untrusted ONNX file before onnxruntime opens it."""
