"""`python -m shitu.paddleclas`, with the flags of the `paddleclas` command."""

from shitu.paddleclas.command import paddleclas

if __name__ == "__main__":
    paddleclas(prog_name="python -m shitu.paddleclas")
