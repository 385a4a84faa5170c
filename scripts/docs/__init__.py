"""Generates pages and drawings of docs/ from the code. `python -m scripts.docs` writes them."""
