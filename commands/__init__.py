"""The command line, one file a command group; the only place besides `shitu` where the siblings below meet."""
