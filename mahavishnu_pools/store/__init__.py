"""All Redis state: keys, scripts, and the calls that run them."""
