"""Text models: an engine that writes, and the replay that holds an answer to its model."""
