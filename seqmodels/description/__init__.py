"""Description of a data set before training: contents, behaviour, and the window that suits it."""
