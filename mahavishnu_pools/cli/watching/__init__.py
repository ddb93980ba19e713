"""``pools watch``: what is seen (model), how it is drawn (screen, lines), what is typed (keys)."""
