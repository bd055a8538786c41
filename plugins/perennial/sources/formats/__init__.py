"""Excel, JSON lines and XML made rows of text: each format has a module that reads a file once, in bounded memory."""
