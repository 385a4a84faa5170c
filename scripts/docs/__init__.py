"""The pages and drawings in docs/ that are made from the code. `python -m scripts.docs` writes them."""
