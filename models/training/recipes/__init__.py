"""Everything that decides what a network becomes, besides the pictures. Needs no PaddlePaddle."""
