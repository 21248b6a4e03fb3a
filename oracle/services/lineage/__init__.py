"""How versions came to be: what their manifests say of it, held to chain and weights."""
