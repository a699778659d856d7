"""What web, worker and models all speak: read by all of them, importing none of them."""
