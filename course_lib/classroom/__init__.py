"""What a lesson needs beside the techniques: figures, explorers, checks, and what `make lab`, `run` and `html` do."""
