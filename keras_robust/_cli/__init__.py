"""The command line: `keras-robust report`."""
