"""Response (uplift): what a contact changes, learned where contacts were given at random."""
