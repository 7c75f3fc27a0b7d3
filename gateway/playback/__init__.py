"""What was recorded, given out again: files, playlists, playbacks."""
