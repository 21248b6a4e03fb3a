"""The story of the first paid answer, told on a network of its own.

`story` runs the chapters in order; each chapter is thin over the same services that the command
line uses, and what it expects it states through `Record.expect`. `record` is the report that comes
out, `books` where every coin is, `screen` how it looks.
"""
