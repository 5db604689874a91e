"""What drives pipelines: a loop in this process, or Faust workers."""
