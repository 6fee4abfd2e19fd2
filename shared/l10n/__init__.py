"""How people read things: one way each, for pages, mails, the command line and the sandbox."""
