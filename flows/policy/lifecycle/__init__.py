"""What a person has done to a work pool by hand: asked for with a reason, decided step by step."""
