"""The demo shop: a real year of a real retailer, dropped into the landing zone as a shop would drop it."""
