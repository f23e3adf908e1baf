"""Live: a stream of the Lab Streaming Layer -> rolling window -> nine scores every two seconds. Nothing is kept.

``lsl`` finds and opens the stream, ``buffer`` holds the last seconds and notices dropped samples, ``estimate`` asks the
model about them, ``loop`` runs the three, ``view`` shows what comes out, and ``replay`` plays a file as a stream.
"""
