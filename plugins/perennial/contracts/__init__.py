"""What crosses rooms: the canonical entities, the models of config/, and the records that rooms hand over."""
