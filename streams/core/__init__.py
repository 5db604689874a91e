"""Windows, the pipeline and checkpoints: pure."""
