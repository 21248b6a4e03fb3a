"""Commands that ask models: `infer` for one answer of any, `chat` for those that write text."""
