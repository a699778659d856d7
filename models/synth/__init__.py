"""Rendered pictures of products that do not exist.

From the bottom up: `designs` (what a product is), `lettering`, `icons`, `patterns` and `label_art` (its flat label),
`silhouettes`, `round_packages` and `flat_packages` (its body in space), `views` (from where and in what light), `products`
(one picture of it), `backgrounds` and `scenes` (products in clutter, with exact boxes).
"""
