"""The trainer: what runs in the containers of a Tunewright Job. It knows `tunewright.contract` and nothing else of the operator."""
