"""Users, projects and tokens."""
