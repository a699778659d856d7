"""Who sends a request and what they may: keys, scopes, limits, admission, origins, the proxy in front, the sign-in."""
