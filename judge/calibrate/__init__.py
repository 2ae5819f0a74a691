"""`judge calibrate`: what a judge says of texts whose truth is known."""
