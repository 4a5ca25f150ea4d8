"""What the operator and the trainer tell each other. pydantic only; the trainer image ships this package and nothing else of the operator."""
