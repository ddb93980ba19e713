"""Memory of finished work: the index that is searched, and its way to other memory servers."""
