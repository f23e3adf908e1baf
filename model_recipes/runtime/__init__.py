"""What the engine is made of: llama.cpp in this process, its errors, caches and threads, and other generators."""
