"""What several commands have in common: option types, console, recipes, training."""
