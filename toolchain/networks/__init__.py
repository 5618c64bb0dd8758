"""The networks: torchvision's ResNets, their weights, and where they are split."""
