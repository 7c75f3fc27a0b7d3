"""What operators ask of many devices at once: who was online when, who never sent video, whose packets get lost."""
