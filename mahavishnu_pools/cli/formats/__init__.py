"""How results are printed: a document goes in, text comes out."""
