"""What an owner does with the files of a model: check, compile, compress, export."""
