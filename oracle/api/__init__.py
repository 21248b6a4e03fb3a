"""The REST gateway: KServe v2, OpenAI-compatible embeddings, and the chain as JSON resources."""
