"""What a stage of training goes through: order, views, batches."""
