"""What every room needs and no room owns: errors, settings, dates, ids, money, personal data, YAML with lines."""
