"""How the networks are made: data, losses, training, measuring and export.

Nothing that serves imports this package, so a worker needs none of it.

Rendered training pictures, from the bottom up: `designs` (what a product is), `lettering`, `icons`, `patterns` and
`label_art` (its flat label), `silhouettes`, `round_packages` and `flat_packages` (its body in space), `views` (from where
and in what light), `products` (one picture of it), `cutouts` (a product cut out of a gallery photo), `backgrounds` and
`scenes` (products in clutter, with exact boxes).
"""
