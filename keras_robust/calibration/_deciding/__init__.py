"""What to do with a confidence: accept it, or name a set of classes."""
