"""What data is worth: data sets, tables, trees and proofs of docs/valuation.md, in NumPy."""
