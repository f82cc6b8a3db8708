"""Blind review: sessions, items, evidence, results, and the routes of the server."""
