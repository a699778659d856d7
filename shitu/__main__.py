"""`python -m shitu`: the command line where no program `shitu` is installed, as in the container."""

from shitu.cli.main import main

main(prog_name="shitu")
