"""Where units of work are done: in this process, or elsewhere."""
