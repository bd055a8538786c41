"""What campaigns earned: effects against control groups, with intervals and a plain verdict (L20, L21)."""
