"""Aggregated API servers: APIServices, whether they answer, and the requests passed on to them."""
