"""What comes back: webhooks of mailing tools, what is pulled from them, one-click links; and what follows at once."""
