"""What the gguf stage is made of: tensors, tokenizer and keys of a file, importance matrix, the parity gate."""
