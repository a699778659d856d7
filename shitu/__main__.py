"""`python -m shitu`: the command line where no program `shitu` is installed, as in the container."""

from shitu.cli.main import main

if __name__ == "__main__":  # a process that it spawns imports this file again, and must not run it
    main(prog_name="shitu")
