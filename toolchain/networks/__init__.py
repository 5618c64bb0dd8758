"""torchvision's ResNets: building them, their weights, and splitting them where training starts."""
