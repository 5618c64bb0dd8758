"""Engines beside onnxruntime's own on the CPU, and the choice between them."""
