"""Experiment trackers that a training reports its epochs to: TensorBoard, MLflow, W&B."""
