"""A look at data before any model is trained: what is in them, how they behave, and which window suits them."""
