"""Small, seeded training loops."""
