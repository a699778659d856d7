"""HTTP: the Flask application, one blueprint per resource, and the page."""
