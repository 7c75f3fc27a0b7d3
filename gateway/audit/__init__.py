"""Who changed what: every change through the API or the command line, and every log-in."""
