"""What a running step sees of the pipeline."""
