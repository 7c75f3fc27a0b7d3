"""Record plans: streams that are recorded at times of the week, and called for it where nobody else does."""
