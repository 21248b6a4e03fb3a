"""What data is worth, fast: exact KNN-Shapley values in torch, and other opinions beside them."""
