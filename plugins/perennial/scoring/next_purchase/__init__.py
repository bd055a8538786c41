"""When a client buys next: median days and an 80 % interval, per client and per product category."""
