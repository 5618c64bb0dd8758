"""From a folder of images to a run folder."""
