"""Jobs over HTTP: made, listed, waited for, cancelled; a module for each kind."""
