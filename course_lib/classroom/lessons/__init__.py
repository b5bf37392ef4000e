"""One folder per lesson: its explorer and its checks."""
