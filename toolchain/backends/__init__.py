"""The engines that compute a model, one file each, behind one signature."""
