"""What a client buys next: products bought before, new ones that go with them, and dearer ones of the same kind."""
