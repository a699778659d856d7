"""The command line: `main.py` names the commands, each group of them has its file, what they share stands in files of its own."""
