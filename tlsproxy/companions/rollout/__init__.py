"""A new version's way to the app: written whole, checked, told, watched over, taken back. Knows no companion."""
