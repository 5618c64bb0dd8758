"""An ONNX file that is not trusted: what is looked at before onnxruntime opens it."""
